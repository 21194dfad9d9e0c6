"""Pictures that end in the middle: named, left out by choice, never copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.damage import without_damaged
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Objects, Record
from everymask.data.shapes import write_shapes
from everymask.errors import DataError


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture
def damaged(tmp_path) -> Dataset:
    """Shapes whose first training picture is cut off."""
    write_shapes(tmp_path, train=3, val=2, size=64)
    made = read_dataset(tmp_path)
    cut(made.records[0].image)
    return made


@pytest.mark.parametrize("name", [pytest.param("a.jpg", id="A08 JPEG"), pytest.param("a.png", id="A09 PNG")])
def test_a_picture_that_ends_in_the_middle_is_named(tmp_path, name):
    file = tmp_path / name
    Image.fromarray(rng(0, "noise").integers(0, 256, (64, 64, 3), np.uint8)).save(file)
    made = Dataset(labels_of(["x"]), (Record("a", file, (64, 64), Objects()),), "fake", tmp_path)
    issues = IssueLog("skip")
    assert without_damaged(made, issues) is made
    cut(file)
    assert len(without_damaged(made, issues)) == 0
    assert [(issue.code, issue.file) for issue in issues.issues] == [("picture", str(file))]


def test_only_decoding_finds_it_and_the_policy_decides(tmp_path, damaged):
    assert len(read_dataset(tmp_path)) == 5
    with pytest.raises(DataError, match=r"1 defect found(.|\n)*damaged or cut short") as caught:
        read_dataset(tmp_path, decode=True)
    assert caught.value.issues[0].file == str(damaged.records[0].image)
    calls: list[tuple[int, int]] = []
    found = read_dataset(tmp_path, decode=True, policy="skip", progress=lambda *call: calls.append(call))
    assert [record.id for record in found.records] == [record.id for record in damaged.records[1:]]
    assert [(issue.code, issue.file) for issue in found.issues] == [("picture", str(damaged.records[0].image))]
    assert calls == [(done, 5) for done in range(1, 6)]
