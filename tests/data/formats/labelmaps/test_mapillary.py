"""Mapillary Vistas' maps of 16 bits: 256 times the label and which thing it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.core.segmentation import Segment
from everymask.data.formats.labelmaps.mapillary import read_mapillary
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.errors import DataError
from tests.data.panoptic_files import make_panoptic

CONFIG: list[dict[str, Any]] = [
    {"name": "animal--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [165, 42, 42]},
    {"name": "nature--sky", "readable": "Sky", "instances": False, "evaluate": True, "color": [70, 130, 180]},
    {"name": "void--ego", "readable": "Ego Vehicle", "instances": False, "evaluate": False, "color": [120, 10, 10]},
    {"name": "object--car", "readable": "Car", "instances": True, "evaluate": True, "color": [0, 0, 142]},
]
IDS = np.array([[0, 0, 1, 256], [768, 769, 769, 512]], np.uint16)
"""Two birds, the first of which is 0, sky, two cars and the ego vehicle."""


def vistas(root: Path, ids: np.ndarray = IDS, split: str = "training", inner: str = "v2.0/instances") -> Path:
    """A picture with its map, and the list of labels of that version; the map."""
    image, file = root / split / "images/a.jpg", root / split / inner / "a.png"
    for path, pixels in ((image, np.zeros((*ids.shape[:2], 3), np.uint8)), (file, ids)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    name = "config.json" if inner == "instances" else f"config_{inner.partition('/')[0]}.json"
    (root / name).write_text(json.dumps({"labels": CONFIG}), "utf-8")
    return file


@pytest.mark.parametrize("inner", ["instances", "v1.2/instances", "v2.0/instances"])
def test_numbers_are_labels_and_things(inner: str, tmp_path: Path) -> None:
    vistas(tmp_path, inner=inner)
    vistas(tmp_path, np.full((2, 2), 256, np.uint16), "validation", inner)
    found = read_dataset(tmp_path, decode=True)
    assert (found.format, found.kind, found.splits()) == ("mapillary", "panoptic", {"train": 1, "val": 1})
    assert found.labels.names == ("Bird", "Sky", "Car") and found.labels.things == {0, 2}
    assert found.labels.colours[2] == (0, 0, 142)
    one = found.panoptic_map(0)
    assert one.ids.tolist() == [[1, 1, 2, 257], [769, 770, 770, 0]]
    assert one.segments == (Segment(1, 0), Segment(2, 0), Segment(257, 1), Segment(769, 2), Segment(770, 2))


def test_things_are_objects_with_the_pixels_of_their_numbers(tmp_path: Path) -> None:
    vistas(tmp_path)
    found = read_dataset(tmp_path, task="instance")
    objects = found.objects(0)
    assert objects.masks is not None
    assert [int(area) for area in objects.masks.areas()] == [2, 1, 1, 2]
    assert objects.masks.to_dense(0).tolist() == (IDS == 0).tolist()


def test_the_latest_version_is_read(tmp_path: Path) -> None:
    vistas(tmp_path, inner="v1.2/instances")
    file = vistas(tmp_path, IDS + 1)
    assert read_dataset(tmp_path).records[0].truth.files == (file,)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    vistas(tmp_path / "a")
    before = read_dataset(tmp_path / "a")
    write_dataset(tmp_path / "b", before, "mapillary")
    made = make_panoptic(tmp_path / "made")
    write_dataset(tmp_path / "c", made, "mapillary")
    for data, folder in ((before, "b"), (made, "c")):
        again = read_dataset(tmp_path / folder)
        assert (again.format, again.splits()) == ("mapillary", data.splits())
        assert again.labels == data.labels
        names = {record.id: row for row, record in enumerate(again.records)}
        for row, record in enumerate(data.records):
            maps = [data.panoptic_map(row), again.panoptic_map(names[record.id])]
            pairs = np.unique(np.stack([one.ids.ravel() for one in maps]), axis=1)
            assert len(pairs[0]) == len(set(pairs[0].tolist())) == len(set(pairs[1].tolist()))
            assert len(maps[1].segments) == len(maps[0].segments)


def test_what_the_maps_cannot_hold_is_refused(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path / "made")
    many = replace(made.labels, names=tuple(map(str, range(256))), colours=((0, 0, 0),) * 256, ignore=65_535)
    with pytest.raises(DataError, match="255 classes"):
        write_dataset(tmp_path / "b", replace(made, labels=many), "mapillary")


@pytest.mark.parametrize(("wrong", "shown"), [(1024, "1024"), (65_535, "65535")])
def test_numbers_of_no_label_are_defects(wrong: int, shown: str, tmp_path: Path) -> None:
    file = vistas(tmp_path, np.array([[0, wrong]], np.uint16))
    vistas(tmp_path, split="validation")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    [issue] = caught.value.issues
    assert (issue.code, issue.file, issue.value) == ("unknown-number", str(file), shown)
    assert len(read_dataset(tmp_path, policy="skip")) == 1


def test_colours_and_maps_that_are_cut_off_are_defects(tmp_path: Path) -> None:
    file = vistas(tmp_path)
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3)).save(file)
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    assert caught.value.issues[0].value == "colours"
    Image.fromarray(IDS[:, :3]).save(file)
    with pytest.raises(DataError, match="4 x 2"):
        read_dataset(tmp_path)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("labels", "where"),
    [
        ("nothing", "/labels"), ([], "/labels"), ([{"name": "a"}], "/labels/0"), ([CONFIG[0], CONFIG[0]], "/labels"),
        ([CONFIG[0], {"instances": True}], "/labels/1"),
    ],
)  # fmt: skip
def test_a_list_of_labels_that_says_too_little_is_a_defect(labels: object, where: str, tmp_path: Path) -> None:
    vistas(tmp_path)
    (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": labels}), "utf-8")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    [issue] = caught.value.issues
    assert (issue.where, issue.file) == (where, str(tmp_path / "config_v2.0.json"))
    with pytest.raises(DataError, match="no list of labels"):
        read_mapillary(tmp_path / "training")
