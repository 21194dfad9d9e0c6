"""Files, folders and patterns become a list of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.commands.sources import find_pictures
from everymask.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`photos` with pictures at two depths, and with what is no picture or hidden."""
    for name in ("b.png", "a.JPG", "deep/c.tif", "notes.txt", ".hidden.png", ".cache/d.png", "[1].png", "-e.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources: str) -> list[str]:
    return [path.as_posix() for path in find_pictures(sources)]


def test_a_folder_stands_for_all_pictures_below_it(folder: Path) -> None:
    expected = ["photos/-e.png", "photos/[1].png", "photos/a.JPG", "photos/b.png", "photos/deep/c.tif"]
    assert names("photos") == expected


def test_patterns_match_pictures_at_any_depth(folder: Path) -> None:
    assert names("photos/[ab].*") == ["photos/a.JPG", "photos/b.png"]
    assert names("photos/**/*.tif") == ["photos/deep/c.tif"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    assert names("photos/[1].png") == ["photos/[1].png"]


def test_a_picture_named_twice_comes_once_where_it_was_first(folder: Path) -> None:
    assert names("photos/b.png", "photos/../photos/b.png", "photos/a.JPG") == ["photos/b.png", "photos/a.JPG"]


def test_a_file_that_is_named_is_taken_whatever_its_ending(folder: Path) -> None:
    """Whether it is a picture is for the reader to say, who looks inside."""
    assert names("photos/notes.txt") == ["photos/notes.txt"]


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        pytest.param(["photos/*.webp"], ConfigError, "matched nothing", id="F20 pattern"),
        pytest.param(["photos/*.txt"], ConfigError, "no picture was named", id="F20 pattern without pictures"),
        pytest.param([], ConfigError, "no picture was named", id="F20 nothing"),
        pytest.param(["photos/x\n.png"], DataError, r"photos/x\\n.png does not exist", id="A33 escaped"),
        pytest.param(["photos/.cache/empty"], DataError, "does not exist", id="A02 missing"),
        pytest.param(["."], DataError, "no picture in the folder", id="F16 empty folder"),
    ],
)
def test_what_names_no_picture_is_refused(
    sources: list[str], error: type[Exception], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sources == ["."]:
        (folder / "empty").mkdir()
        monkeypatch.chdir(folder / "empty")
    with pytest.raises(error, match=message):
        find_pictures(sources)
