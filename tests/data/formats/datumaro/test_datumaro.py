"""Datumaro's JSON files as Datumaro and CVAT write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import looks_like_coco
from everymask.data.formats.datumaro.files import looks_like_datumaro, read_datumaro, write_datumaro
from everymask.data.formats.table import find_formats, read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Record
from everymask.errors import DataError

SQUARE = [2.0, 2.0, 12.0, 2.0, 12.0, 10.0, 2.0, 10.0]


def entry(kind: str, **keys: Any) -> dict[str, Any]:
    return {"id": 0, "type": kind, "attributes": {}, "group": 0, "label_id": 1, "z_order": 0, **keys}


def runs(mask: np.ndarray) -> dict[str, Any]:
    found = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def lay_out(folder: Path, *annotations: dict[str, Any], subset: str = "default", **keys: Any) -> Path:
    """A picture of 30 x 20 pixels as CVAT exports it, and one that shows nothing."""
    for name in ("a", "b"):
        file = folder / "images" / subset / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (ord(name), 0, 0)).save(file)
    items = [
        {
            "id": "a",
            "annotations": list(annotations),
            "attr": {"frame": 0},
            "image": {"path": "a.png", "size": [20, 30]},
        },
        {"id": "b", "annotations": [], "attr": {"frame": 1}, "image": {"path": "", "size": [20, 30]}},
    ]
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("cat", "dog")]
    document = {"info": {}, "categories": {"label": {"labels": labels, "attributes": []}}, "items": items, **keys}
    file = folder / "annotations" / f"{subset}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document))
    return folder


def test_all_kinds_of_areas_are_read(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:9, 20:25] = True
    found = read_dataset(
        lay_out(
            tmp_path,
            entry("polygon", points=SQUARE),
            entry("mask", rle=runs(mask), label_id=0),
            entry("ellipse", points=[14.0, 12.0, 20.0, 18.0]),
            entry("bbox", bbox=[22.0, 12.0, 5.0, 4.0]),
        )
    )
    assert (found.format, found.labels.names, len(found)) == ("datumaro", ("cat", "dog"), 2)
    assert [issue.code for issue in found.issues] == ["box-as-mask"]
    truth = found.truth(0)
    assert truth.class_ids.tolist() == [1, 0, 1, 1]
    square, painted, ellipse, box = truth.masks.areas().tolist()
    assert (square, painted, box) == (80, 30, 20)
    assert ellipse == pytest.approx(np.pi * 9, abs=4)  # by COCO's rule, which fills more than half pixels
    assert truth.masks.boxes()[2].tolist() == [14, 12, 20, 18]
    assert len(found.truth(1)) == 0 and found.records[1].annotated


def test_a_group_is_one_object_and_the_attribute_marks_a_crowd(tmp_path: Path) -> None:
    parts = [[1, 1, 4, 1, 4, 4, 1, 4], [8, 8, 12, 8, 12, 12, 8, 12]]
    joined = [entry("polygon", points=points, group=7) for points in parts]
    alone = [entry("polygon", points=points, attributes={"is_crowd": True}) for points in parts]
    found = read_datumaro(lay_out(tmp_path, *joined, *alone))
    assert found.truth(0).masks.areas().tolist() == [25, 9, 16]
    assert found.truth(0).crowd.tolist() == [False, True, True]
    objects = read_dataset(tmp_path, crowds="as-objects")
    assert objects.truth(0).crowd.tolist() == [False] * 3


def test_a_box_that_cvat_turned_is_outlined(tmp_path: Path) -> None:
    turned = entry("bbox", bbox=[10.0, 6.0, 8.0, 4.0], attributes={"rotation": 90.0})
    found = read_datumaro(lay_out(tmp_path, turned, entry("polygon", points=SQUARE)))
    assert found.truth(0).boxes[0].tolist() == [12, 4, 16, 12]
    assert [issue.code for issue in found.issues] == ["box-turned"]


def test_what_has_no_area_and_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    line = entry("polyline", points=[1, 1, 5, 5])
    lay_out(tmp_path, line, line, entry("label"), entry("polygon", points=SQUARE))
    file = tmp_path / "annotations" / "default.json"
    document = json.loads(file.read_text())
    document["items"].append({"id": "v", "annotations": [], "video_frame": {"video_path": "v.mp4", "frame_index": 3}})
    file.write_text(json.dumps(document))
    found = read_datumaro(tmp_path)
    counts = {issue.code: issue.count for issue in found.issues}
    assert counts == {"no-area-polyline": 2, "no-area-label": 1, "passed-over": 1}
    assert len(found.truth(0)) == 1 and len(found) == 2


@pytest.mark.parametrize(
    ("wrong", "code", "where"),
    [
        (entry("polygon", points=[1, 1, 2]), "point-count", "/points"),
        (entry("polygon", points=[1, 1, 2, "x", 3, 3]), "point", "/points/3"),
        (entry("polygon", points=SQUARE, label_id=2), "unknown-class", "/label_id"),
        (entry("polygon", points=SQUARE, label_id=True), "unknown-class", "/label_id"),
        (entry("mask", rle={"size": [30, 20], "counts": "x"}), "rle-size", "/rle/size"),
        (entry("mask", rle=runs(np.zeros((20, 30)))), "empty-mask", "/rle"),
        (entry("mask"), "mask", "/rle"),
        (entry("bbox", bbox=[1, 1, 0, 4]), "zero-area", ""),
        (entry("ellipse", points=[1, 1, 1, 4]), "zero-area", ""),
        (entry("lidar"), "shape-type", "/type"),
        ("x", "shape-type", "/type"),
    ],
)
def test_defects_are_named_with_their_place(tmp_path: Path, wrong: Any, code: str, where: str) -> None:
    lay_out(tmp_path, entry("polygon", points=SQUARE), wrong)
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    (issue,) = caught.value.issues
    assert (issue.code, issue.where) == (code, f"/items/0/annotations/1{where}")
    assert len(read_dataset(tmp_path, policy="skip").truth(0)) == 1


def test_it_is_no_coco_file_though_it_has_coco_s_keys(tmp_path: Path) -> None:
    lay_out(tmp_path, entry("polygon", points=SQUARE), images=[], media_type=2)
    file = tmp_path / "annotations" / "default.json"
    assert looks_like_datumaro(file) and not looks_like_coco(file)
    for path in (tmp_path, file, tmp_path / "annotations"):
        assert [found.name for found in find_formats(path)] == ["datumaro"]
        assert len(read_dataset(path).truth(0)) == 1


def test_boxes_come_back_as_boxes(tmp_path: Path) -> None:
    lay_out(tmp_path)
    box = Annotation(0, BoxOnly(), (2.5, 3.0, 9.0, 11.25))
    record = Record("a", tmp_path / "images/default/a.png", (20, 30), Objects((box,)))
    made = Dataset(labels_of(["cat"]), (record,), "fake", tmp_path, boxes_only=True)
    write_datumaro(tmp_path / "out", made)
    found = read_datumaro(tmp_path / "out")
    assert found.boxes_only
    assert found.truth(0).boxes.tolist() == [[2.5, 3.0, 9.0, 11.25]]
