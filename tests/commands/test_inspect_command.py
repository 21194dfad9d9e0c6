"""`everymask inspect`: a page for a picture, with the truth of the data that it belongs to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from everymask.cli import run

ROOT = Path(__file__).resolve().parents[2]


def test_a_page_of_a_picture_of_the_data(
    shapes: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = min((shapes / "images" / "val").iterdir())
    page = tmp_path / "page.html"
    assert run(["inspect", str(tiny), str(picture), "--data", str(shapes), "--out", str(page), "--most", "2"]) == 0
    assert "which finds objects" in capsys.readouterr().out
    assert "match a truth" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{run}", "missing.png"], 3, "there is no such file"),
        (["{picture}", "{run}"], 2, "did you mean: everymask inspect"),
        (["{run}", "{picture}", "--out", "page.png"], 2, "--out inspect.html"),
        (["{run}", "{picture}", "--most", "0"], 2, "most must be at least 1"),
        (["{run}", "{other}", "--data", "{data}"], 3, "is not among the 5 pictures"),
        (["otsu", "{picture}"], 2, "method without a network"),
    ],
    ids=["no-picture", "swapped", "no-page", "none", "other-data", "method"],
)
def test_what_cannot_be_inspected_is_said(
    words: list[str], code: int, said: str, shapes: Path, tiny: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    picture = min((shapes / "images" / "val").iterdir())
    other = tmp_path / "other.png"
    other.write_bytes(picture.read_bytes())
    names = {"run": tiny, "picture": picture, "other": other, "data": shapes}
    assert run(["inspect", *(word.format(**names) for word in words)]) == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "inspect.html").exists()


@pytest.mark.slow
def test_the_example_in_the_docs_runs(
    shapes: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```py\n(.*?)```", (ROOT / "docs" / "inspect.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny, tmp_path / "runs" / "a")
    shutil.copy(min((shapes / "images" / "val").iterdir()), tmp_path / "photo.png")
    exec(compile(block, "inspect.md", "exec"), {})
    assert (tmp_path / "inspect.html").is_file() and capsys.readouterr().out.startswith("(")
