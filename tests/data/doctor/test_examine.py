"""The summary counts what is there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.doctor.examine import check
from everymask.data.formats.table import read_dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Polygons, Record, Rle
from everymask.errors import Issue
from tests.data.coco_files import document, lay_out

SQUARE = Polygons((np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]]),))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    for name, size, mode in (("a", (8, 6), "RGB"), ("b", (8, 6), "L"), ("c", (20, 10), "RGB")):
        Image.new(mode, size).save(tmp_path / f"{name}.png")
    ids = np.zeros((10, 20), np.uint8)
    ids[0, :7], ids[5, :2] = 3, 9
    Image.fromarray(ids).save(tmp_path / "ids.png")
    run = Rle(Masks.from_dense((ids == 3)[None]).to_rle()[0])
    objects = (
        Annotation(1, MaskFile(tmp_path / "ids.png", 3)),
        Annotation(1, MaskFile(tmp_path / "ids.png")),
        Annotation(0, run, crowd=True),
    )
    records = (
        Record("a", tmp_path / "a.png", (6, 8), Objects((Annotation(0, SQUARE),)), "train"),
        Record("b", tmp_path / "b.png", (6, 8), Objects(), "train"),
        Record("c", tmp_path / "c.png", (10, 20), Objects(objects), "val"),
    )
    issues = (Issue("odd", "something odd", severity="warning"), Issue("bad", "something bad"))
    return Dataset(labels_of(["x", "y", "z"]), records, "fake", tmp_path, issues)


def test_the_numbers(dataset):
    found = check(dataset)
    assert (found.pictures, found.empty, found.objects, found.crowd) == (3, 1, 4, 1)
    assert found.splits == {"train": 2, "val": 1}
    assert found.sizes == {"min": (6, 8), "median": (6, 8), "max": (10, 20), "commonest": (6, 8, 2)}
    assert found.pixels == {"3 x uint8": 2, "1 x uint8": 1}
    assert found.classes == {"x": {"train": 1, "val": 1}, "y": {"train": 0, "val": 2}, "z": {"train": 0, "val": 0}}
    assert found.per_picture["max"] == 3
    assert (found.areas["min"], found.areas["max"], found.areas["median"]) == (7, 12, 8)
    assert (found.num_errors, found.num_warnings) == (1, 1)
    assert [issue.code for issue in found.issues] == ["bad", "odd"]


def test_it_goes_into_json(dataset):
    plain = check(dataset).to_json()
    assert json.loads(json.dumps(plain)) == json.loads(json.dumps(plain, allow_nan=False))
    assert plain["sizes"]["commonest"] == [6, 8, 2]
    assert plain["issues"][0]["code"] == "bad"


def test_a_picture_that_went_missing_is_a_defect(dataset, tmp_path):
    (tmp_path / "b.png").unlink()
    found = check(dataset)
    assert found.num_errors == 2
    assert any(issue.code == "picture-missing" for issue in found.issues)


def test_defects_beyond_the_list_are_counted(dataset):
    issues = IssueLog("skip")
    for row in range(1500):
        issues.error("bad", "something bad", file=row)
        issues.warn("odd", "something odd", file=row)
    found = check(replace(dataset, issues=issues.finish("fake")))
    assert (found.num_errors, found.num_warnings) == (1500, 1500)
    assert len(issues.finish("fake")) == 2002
    assert "500 more are not listed; all together: 1,500 x bad" in str(issues.finish("fake")[-2])


def test_nothing_at_all_and_boxes_only(dataset, tmp_path):
    empty = check(dataset.subset([]))
    assert (empty.pictures, empty.sizes, empty.areas, empty.per_picture) == (0, {}, {}, {})
    record = Record("a", tmp_path / "a.png", (6, 8), Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 4.0, 3.0)),)))
    boxes = check(Dataset(dataset.labels, (record,), "fake", tmp_path, boxes_only=True))
    assert boxes.boxes_only
    assert boxes.areas["max"] == 6
    assert boxes.classes["x"] == {"all": 1}


def test_c17_an_outline_that_crosses_itself_is_named_once(dataset):
    bow = np.array([[1.0, 1.0], [5.0, 4.0], [5.0, 1.0], [1.0, 4.0]])
    objects = (Annotation(0, SQUARE), Annotation(0, Polygons((bow, bow + 1))), Annotation(0, Polygons((bow,)), id=70))
    first = replace(dataset.records[0], truth=Objects(objects))
    found = check(replace(dataset, records=(first,), issues=()))
    assert [(issue.code, issue.where, issue.severity) for issue in found.issues] == [
        ("polygon-crossing", "object 2", "warning"),
        ("polygon-crossing", "annotation id 70", "warning"),
    ]


def test_a34_equal_pictures_are_named(dataset, tmp_path):
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes())
    copy = replace(dataset.records[0], id="d", image=tmp_path / "d.png")
    found = check(replace(dataset, records=(*dataset.records, copy), issues=()))
    assert [(issue.code, issue.file, issue.value) for issue in found.issues] == [
        ("same-picture", str(tmp_path / "a.png"), str(tmp_path / "d.png"))
    ]


@pytest.mark.parametrize("path", ["nuclei_one_mask_per_file", "labelme/instance_segmentation/data_dataset_voc"])
def test_areas_are_those_of_the_masks(shared, path):
    made = read_dataset(shared / path)
    expected = np.concatenate([made.truth(row).masks.areas() for row in range(len(made))])
    found = check(made)
    assert found.objects == len(expected)
    assert found.areas["median"] == np.median(expected)
    assert found.areas["max"] == expected.max()


def test_what_the_reader_has_said_of_pictures_is_not_said_again(tmp_path):
    lay_out(tmp_path, document())
    tail = tmp_path / "images" / "a.png"
    Image.new("RGB", (30, 20)).save(tail, format="JPEG")
    tail.write_bytes(tail.read_bytes() + bytes(9))
    found = check(read_dataset(tmp_path, policy="skip", decode=True))
    assert sorted((issue.code, issue.count) for issue in found.issues) == [("picture-name", 1), ("picture-tail", 1)]
    assert found.num_warnings == 2
    dataset = read_dataset(tmp_path)
    tail.unlink()
    assert [issue.code for issue in check(dataset).issues if issue.severity == "error"] == ["picture-missing"]
