"""What the readers of annotation programs share: finding pictures and files of a kind."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.issues import IssueLog


def pictures(root: Path, *names: str) -> Pictures:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(root / name)
    return Pictures(root)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("a.png", "one/a.png"),
        ("ONE/a.png", "one/a.png"),
        ("/data/project/deep/x/b.png", "deep/x/b.png"),
        ("C:\\disk\\y\\b.png", "deep/y/b.png"),
        (unicodedata.normalize("NFD", "ä.png"), "ä.png"),
        ("../../a.png", "one/a.png"),
        ("b.png", None),
        ("c.png", None),
        ("", None),
    ],
)
def test_the_longest_end_of_a_path_counts(tmp_path, named, found):
    listing = pictures(tmp_path, "one/a.png", "masks/a.png", "deep/x/b.png", "deep/y/b.png", "ä.png")
    issues = IssueLog("skip")
    path = listing.find(named, issues, file="f", where="w")
    assert path == (tmp_path / found if found else None)
    assert issues.total("error") == (0 if found else 1)
    if named == "b.png":
        assert issues.issues[0].code == "picture-ambiguous"


def test_of_thousands_of_files_only_the_first_are_looked_into():
    looked: list[Path] = []

    def is_kind(file: Path) -> bool:
        looked.append(file)
        return file.stem == "150"

    few, many = [Path(f"{number}.json") for number in range(200)], [Path(f"{number}.json") for number in range(201)]
    assert files_of_kind(few, is_kind) == [Path("150.json")]
    looked.clear()
    assert files_of_kind(many, is_kind) == []
    assert len(looked) == 10
