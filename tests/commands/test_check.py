"""`everymask check` and `convert` say how many pictures are not annotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from everymask.cli import run
from everymask.data.formats.table import write_dataset
from tests.contracts.test_formats import make_fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", make_fake(tmp_path), "labelme")
    file = next((tmp_path / "data").rglob("*.json"))
    Image.new("RGB", (7, 5)).save(file.parent / "loose.png")
    return tmp_path / "data"


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_pictures_that_are_not_annotated_are_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = json.loads(answer(capsys, "check", data, "--json"))
    assert counts["not_annotated"] == 1
    for task, what in (("instance", "objects"), ("semantic", "truth")):
        shown = answer(capsys, "check", data, "--task", task)
        assert f"{counts['pictures']} pictures (" in shown and f" without {what}) and 1 not annotated, " in shown


def test_a_conversion_counts_what_it_wrote(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = json.loads(answer(capsys, "check", data, "--json"))["pictures"]
    assert f"{pictures} pictures: " in answer(capsys, "convert", data, "--to", "coco", "--out", tmp_path / "out")
    assert json.loads(answer(capsys, "check", tmp_path / "out", "--json"))["pictures"] == pictures
