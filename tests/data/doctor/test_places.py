"""A defect's place is found from its file and its pointer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from everymask.data.doctor.places import Place, Places
from everymask.data.formats.table import read_dataset
from everymask.errors import Issue


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    Image.new("RGB", (60, 40), (9, 9, 9)).save(tmp_path / "b.png")
    sound = {"id": 7, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [2, 3, 10, 20], "area": 200}
    sound["segmentation"] = [[2, 3, 12, 3, 12, 23, 2, 23]]
    odd = {
        **sound,
        "id": 8,
        "image_id": 2,
        "segmentation": [[50, 10, 90, 10, 90, 30, 50, 30]],
        "bbox": [50, 10, 40, 20],
    }
    document = {
        "images": [{"id": k, "file_name": f"{n}.png", "width": 60, "height": 40} for k, n in ((1, "a"), (2, "b"))],
        "annotations": [sound, odd, {**sound, "id": 9, "bbox": [1, 2, 3, 4], "area": 12}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(document))
    return tmp_path


def test_of_a_coco_file_the_entry_and_its_picture_are_found(coco: Path) -> None:
    dataset = read_dataset(coco / "set.json", policy="skip")
    (issue,) = (issue for issue in dataset.issues if issue.severity == "error")
    places = Places(dataset)
    assert places.find(issue) == Place(coco / "b.png", (50.0, 10.0, 90.0, 30.0))
    boxed = Issue("x", "", str(coco / "set.json"), "/annotations/2/bbox")
    assert places.find(boxed) == Place(coco / "a.png", (1.0, 2.0, 4.0, 6.0))
    assert places.find(Issue("x", "", str(coco / "set.json"), "/images/0/width")) == Place(coco / "a.png")
    assert places.find(Issue("x", "", str(coco / "set.json"), "/annotations/99/bbox")) is None
    assert places.find(Issue("x", "", str(coco / "a.png"), "annotation id 7")) == Place(coco / "a.png", (2, 3, 12, 23))
    assert places.find(Issue("x", "", str(coco / "a.png"), "object 1")) == Place(coco / "a.png", (2, 3, 12, 23))
    assert places.find(Issue("x", "", str(coco / "a.png"), "object 3")) == Place(coco / "a.png")


def test_a_line_of_yolo_and_a_shape_of_labelme_are_found(coco: Path) -> None:
    dataset = read_dataset(coco / "set.json", policy="skip")
    (coco / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n0 0 0 0.5 0 0.5 0.5\n1 x\n")
    (coco / "a.json").write_text(json.dumps({"shapes": [{"points": [[1, 2], [9, 8], [float("1e300"), 4]]}]}))
    places = Places(dataset)
    text = str(coco / "a.txt")
    assert places.find(Issue("x", "", text, "line 1")) == Place(coco / "a.png", (15, 10, 45, 30))
    assert places.find(Issue("x", "", text, "line 2")) == Place(coco / "a.png", (0, 0, 30, 20))
    assert places.find(Issue("x", "", text, "line 3")) == Place(coco / "a.png")
    found = places.find(Issue("x", "", str(coco / "a.json"), "/shapes/0/points/2"))
    assert found is not None and found.picture == coco / "a.png"


@pytest.mark.parametrize(
    "text", ["", "[1", '{"images": 3, "annotations": [{"image_id": [], "bbox": ["x", null]}]}', "[" * 9999]
)
def test_what_cannot_be_read_has_no_place_and_is_no_error(coco: Path, text: str) -> None:
    dataset = read_dataset(coco / "set.json", policy="skip")
    (coco / "other.json").write_text(text)
    assert Places(dataset).find(Issue("x", "", str(coco / "other.json"), "/annotations/0/bbox")) is None
    assert Places(dataset).find(Issue("x", "", str(coco / "gone.json"), "/annotations/0")) is None
    assert Places(dataset).find(Issue("x", "no file")) is None
