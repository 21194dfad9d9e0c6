"""Names that differ only in letter case or in Unicode form belong together, in every format, and that is noted."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.table import read_dataset
from tests.data.coco_files import document, lay_out

NFC, NFD = "caf\u00e9", "cafe\u0301"
PAIRS = [pytest.param(NFC, NFD, id="NFC and NFD"), pytest.param(NFD, NFC, id="NFD and NFC")]
PAIRS += [pytest.param("IMG_1", "img_1", id="letter case")]


def save(file, array=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8) if array is None else array).save(file)


def codes(dataset):
    return [(issue.code, issue.severity) for issue in dataset.issues]


def blobs():
    ids = np.zeros((20, 30), np.uint8)
    ids[2:8, 2:8], ids[10:15, 12:20] = 1, 2
    return ids


@pytest.mark.parametrize(("picture", "named"), PAIRS)
def test_coco(tmp_path, picture, named):
    content = document()
    content["images"][0]["file_name"] = f"{named}.png"
    lay_out(tmp_path, content)
    (tmp_path / "images/a.png").rename(tmp_path / f"images/{picture}.png")
    found = read_dataset(tmp_path)
    assert [record.image.name for record in found.records] == [f"{picture}.png", "b.png"]
    assert codes(found) == [("name-spelling", "warning")]


@pytest.mark.parametrize(("picture", "named"), PAIRS)
def test_labelme(tmp_path, picture, named):
    save(tmp_path / f"{picture}.png")
    shape = {"label": "x", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape], "imagePath": f"{named}.png", "imageData": None}))
    found = read_dataset(tmp_path)
    assert [record.image.name for record in found.records] == [f"{picture}.png"]
    assert codes(found) == [("name-spelling", "warning")]


@pytest.mark.parametrize(("picture", "named"), PAIRS)
@pytest.mark.parametrize("ending", ["", "_mask"])
def test_label_maps(tmp_path, picture, named, ending):
    save(tmp_path / f"images/{picture}.png")
    save(tmp_path / f"masks/{named}{ending}.png", blobs())
    found = read_dataset(tmp_path, task="semantic")
    assert len(found) == 1
    assert codes(found) == [("name-spelling", "warning")]


@pytest.mark.parametrize("kind", ["voc", "voc-semantic"])
@pytest.mark.parametrize(("picture", "named"), PAIRS)
def test_voc(tmp_path, picture, named, kind):
    save(tmp_path / f"JPEGImages/{picture}.png")
    save(tmp_path / f"SegmentationClass/{named}.png", blobs())
    if kind == "voc":
        save(tmp_path / f"SegmentationObject/{named}.png", blobs())
    (tmp_path / "class_names.txt").write_text("_background_\na\nb\n")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text(f"{named}\n")
    found = read_dataset(tmp_path, format=kind)
    assert (found.splits(), found.records[0].id) == ({"train": 1}, picture)
    assert codes(found) == [("name-spelling", "warning")]


def test_two_that_differ_only_in_case_are_two(tmp_path):
    for name in ("a", "A"):
        save(tmp_path / f"images/{name}.png")
        save(tmp_path / f"masks/{name}.png", blobs())
    found = read_dataset(tmp_path, task="semantic")
    assert [(record.image.stem, record.truth.file.stem) for record in found.records] == [("A", "A"), ("a", "a")]
    assert found.issues == ()


def test_classes_of_two_files_that_look_alike_are_one(tmp_path):
    for split, name in (("train", NFC), ("val", NFD)):
        content = document()
        content["categories"][0]["name"] = name
        content["images"] = [content["images"][0 if split == "train" else 1]]
        content["annotations"] = content["annotations"][:1] if split == "train" else []
        lay_out(tmp_path, content, f"annotations/instances_{split}.json")
    found = read_dataset(tmp_path)
    assert [unicodedata.normalize("NFC", name) for name in found.labels.names] == ["dog", NFC]
    assert codes(found) == [("class-spelling", "warning")]
