"""Cityscapes' instanceIds: one number per pixel for the class and for which thing it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.cli import run
from everymask.core.segmentation import Segment
from everymask.data.formats.labelmaps.cityscapes_instances import LABELS
from everymask.data.formats.table import find_formats, read_dataset, write_dataset
from everymask.errors import DataError
from tests.data.panoptic_files import make_panoptic

IDS = np.array([[7, 7, 26000, 26001], [7, 26, 26000, 29000], [4, 0, 24003, 24003]], np.uint16)
"""Road, two cars, a group of cars, a caravan and what else does not train, and a person."""


def street(root: Path, ids: np.ndarray = IDS, split: str = "train", name: str = "aa_1") -> Path:
    image = root / "leftImg8bit" / split / "aa" / f"{name}_leftImg8bit.png"
    file = root / "gtFine" / split / "aa" / f"{name}_gtFine_instanceIds.png"
    for path, pixels in ((image, np.zeros((*ids.shape, 3), np.uint8)), (file, ids)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return file


def test_numbers_are_classes_and_things(tmp_path: Path) -> None:
    street(tmp_path)
    street(tmp_path, np.full((2, 2), 23, np.uint16), "val")
    found = read_dataset(tmp_path, decode=True)
    assert (found.format, found.kind, found.splits()) == ("cityscapes-instances", "panoptic", {"train": 1, "val": 1})
    assert {found.labels.names[k] for k in found.labels.things} == {
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"
    }  # fmt: skip
    one = found.panoptic_map(0)
    assert one.segments == (
        Segment(7, 0), Segment(26, 13, crowd=True), Segment(24003, 11), Segment(26000, 13), Segment(26001, 13)
    )  # fmt: skip
    assert one.ids.tolist() == [[7, 7, 26000, 26001], [7, 26, 26000, 0], [0, 0, 24003, 24003]]


def test_where_there_are_label_ids_too_the_task_decides(tmp_path: Path) -> None:
    file = street(tmp_path)
    labels = np.where(IDS >= 1000, IDS // 1000, IDS).astype(np.uint8)
    Image.fromarray(labels).save(file.with_name("aa_1_gtFine_labelIds.png"))
    assert [known.name for known in find_formats(tmp_path)] == ["cityscapes"]
    assert read_dataset(tmp_path).kind == "label maps"
    assert read_dataset(tmp_path, task="panoptic").format == "cityscapes-instances"


def test_what_is_written_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    street(tmp_path / "a")
    before = read_dataset(tmp_path / "a")
    write_dataset(tmp_path / "b", before, "cityscapes-instances")
    assert run(["convert", str(tmp_path / "b"), "--to", "coco-panoptic", "--out", str(tmp_path / "c"), "--strict"]) == 0
    capsys.readouterr()
    assert run(["check", str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "cityscapes-instances"
    for folder in ("b", "c"):
        again = read_dataset(tmp_path / folder)
        kinds = [sorted((one.class_id, one.crowd) for one in data.panoptic_map(0).segments) for data in (before, again)]
        assert kinds[0] == kinds[1]
        ids = [data.panoptic_map(0).ids for data in (before, again)]
        assert len(np.unique(np.stack([part.ravel() for part in ids]), axis=1)[0]) == len(np.unique(ids[0]))
    with pytest.raises(DataError, match="its own 19 classes"):
        write_dataset(tmp_path / "d", make_panoptic(tmp_path / "made"), "cityscapes-instances")
    many = replace(before, labels=replace(LABELS, things=frozenset()))
    with pytest.raises(DataError, match="8 are things"):
        write_dataset(tmp_path / "d", many, "cityscapes-instances")


@pytest.mark.parametrize("wrong", [34, 999, 7000, 34000])
def test_numbers_that_stand_for_nothing_are_defects(wrong: int, tmp_path: Path) -> None:
    file = street(tmp_path, np.array([[7, wrong]], np.uint16))
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    [issue] = caught.value.issues
    assert (issue.code, issue.file, issue.value) == ("unknown-number", str(file), str(wrong))
    street(tmp_path, name="aa_2")
    assert len(read_dataset(tmp_path, policy="skip")) == 1


def test_colours_and_maps_of_another_size_are_defects(tmp_path: Path) -> None:
    file = street(tmp_path)
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3)).save(file)
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert caught.value.issues[0].value == "colours"
    Image.fromarray(IDS[:, :3]).save(file)
    with pytest.raises(DataError, match="4 x 3"):
        read_dataset(tmp_path)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError):
        read_dataset(tmp_path)
