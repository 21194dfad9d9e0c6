"""VIA: projects, exports, CSV, every kind of region, and which attribute is the class."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.table import find_formats, read_dataset
from everymask.data.formats.via.files import read_via, write_via
from everymask.data.records import Annotation, Objects, Record, Rle
from everymask.errors import DataError

X, Y = [6.0, 30.0, 30.0], [4.0, 4.0, 24.0]
POLYGON = {"name": "polygon", "all_points_x": X, "all_points_y": Y}
TRIANGLE = Masks.from_polygons([[np.stack([X, Y], axis=1)]], (40, 60)).to_rle()


def region(shape=POLYGON, **attributes) -> dict:
    return {"shape_attributes": shape, "region_attributes": attributes or {"class": "a"}}


def entry(*regions, name: str = "p.png", **more) -> dict:
    return {f"{name}123": {"filename": name, "size": 123, "regions": list(regions), "file_attributes": {}, **more}}


def annotate(root: Path, document: dict, name: str = "via_region_data.json", picture: str = "p.png") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    Image.new("L", (60, 40)).save(root / picture)
    (root / name).write_text(json.dumps(document))
    return root


def issues_of(root: Path) -> list[tuple[str, str]]:
    return [(issue.code, issue.severity) for issue in read_via(root, policy="skip").issues]


def test_an_export_in_the_wild(shared):
    dataset = read_dataset(shared / "cases/via", policy="skip")
    document = json.loads((shared / "cases/via/via_region_data.json").read_text())
    listed = next(iter(document.values()))
    assert (dataset.format, dataset.labels.names) == ("via", ("nucleus",))
    truth = dataset.truth(0)
    rings = [
        [np.stack([found["shape_attributes"]["all_points_x"], found["shape_attributes"]["all_points_y"]], axis=1)]
        for found in listed["regions"]
    ]
    assert truth.masks.to_rle() == Masks.from_polygons(rings, dataset.records[0].size).to_rle()
    assert {issue.code for issue in dataset.issues} == {"picture-missing"}  # three of its pictures are not there


def test_every_kind_of_region(tmp_path):
    regions = (
        region(),
        region({"name": "rect", "x": 5, "y": 6, "width": 10, "height": 8}),
        region({"name": "circle", "cx": 30, "cy": 20, "r": 9.5}),
        region({"name": "ellipse", "cx": 30, "cy": 20, "rx": 15, "ry": 6, "theta": math.pi / 2}),
        region({"name": "point", "cx": 30, "cy": 20}),
        region({"name": "polyline", "all_points_x": X, "all_points_y": Y}),
    )
    dataset = read_via(annotate(tmp_path, entry(*regions)))
    truth = dataset.truth(0)
    assert truth.masks.to_rle()[:1] == TRIANGLE
    assert truth.boxes[1].tolist() == [5, 6, 15, 14]
    assert np.allclose(truth.masks.areas()[2:], [math.pi * 9.5**2, math.pi * 90], rtol=0.02)
    assert truth.boxes[3].tolist() == [24, 5, 36, 35]
    assert [issue.code for issue in dataset.issues] == ["no-area-point", "no-area-polyline", "box-as-mask"]


def test_a_project_gives_the_order_of_classes(tmp_path):
    options = {"type": "dropdown", "options": {"z": "", "a": ""}, "default_options": {}}
    document = {"_via_settings": {}, "_via_img_metadata": entry(region(kind="a")),
                "_via_attributes": {"region": {"kind": options}, "file": {}}}  # fmt: skip
    dataset = read_dataset(annotate(tmp_path, document, "my project.json"))
    assert (dataset.format, dataset.labels.names) == ("via", ("z", "a"))
    document["_via_img_metadata"] = entry(region(kind="b"))
    assert issues_of(annotate(tmp_path, document, "my project.json")) == [("unknown-class", "error")]


def test_regions_of_version_1_and_ticked_classes(tmp_path):
    document = entry()
    document["p.png123"]["regions"] = {
        "0": region(kind={"b": False, "a": True}),
        "1": region(kind={"c": True, "d": True}),
    }
    dataset = read_via(annotate(tmp_path, document))
    assert dataset.labels.names == ("a", "c")
    assert [(issue.code, issue.count) for issue in dataset.issues] == [("several-labels", 1)]


def test_csv_is_the_same_as_json(tmp_path):
    rect = {"name": "rect", "x": 5, "y": 6, "width": 10, "height": 8}
    annotate(tmp_path / "json", entry(region(), region(rect)) | entry(name="q.png"), picture="q.png")
    annotate(tmp_path / "json", entry(region(), region(rect)) | entry(name="q.png"))
    annotate(tmp_path / "csv", {}, "x.txt", picture="q.png")
    annotate(tmp_path / "csv", {}, "x.txt")
    columns = ["filename", "file_size", "file_attributes", "region_count", "region_id", "region_shape_attributes",
               "region_attributes"]  # fmt: skip
    for mark in ("#", ""):
        with (tmp_path / "csv" / "via_export_csv.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([mark + columns[0], *columns[1:]])
            writer.writerow(["p.png", 1, "{}", 2, 0, json.dumps(POLYGON), '{"class":"a"}'])
            writer.writerow(["p.png", 1, "{}", 2, 1, json.dumps(rect), '{"class":"a"}'])
            writer.writerow(["q.png", 1, "{}", 0, 0, "{}", "{}"])
        ours, theirs = read_dataset(tmp_path / "csv"), read_dataset(tmp_path / "json")
        assert ours.format == "via"
        assert [len(ours.truth(row)) for row in range(2)] == [2, 0]
        assert ours.truth(0).masks.to_rle() == theirs.truth(0).masks.to_rle()


@pytest.mark.parametrize(
    ("attributes", "names", "code"),
    [
        ({"kind": "a"}, ("a",), None),
        ({"kind": "a", "note": ""}, ("a",), None),
        ({"Class": "a", "note": "x"}, ("a",), None),
        ({"name": "x", "label": "a"}, ("a",), ("class-attribute", "warning")),
        ({"kind": "a", "note": "x"}, ("object",), ("class-attribute", "error")),
        ({"kind": "", "note": ""}, ("object",), None),
    ],
)
def test_which_attribute_is_the_class(tmp_path, attributes, names, code):
    dataset = read_via(annotate(tmp_path, entry(region(**attributes))), policy="skip")
    assert dataset.labels.names == names
    assert [(issue.code, issue.severity) for issue in dataset.issues] == ([code] if code else [])
    if code:
        assert all(name in dataset.issues[0].message for name in attributes)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}), "point-count"),
        (region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}), "point-count"),
        (region({"name": "polygon", "all_points_x": [1, "2", 3], "all_points_y": [1, 2, 9]}), "point"),
        (region({"name": "polygon", "all_points_x": [90, 95, 99], "all_points_y": [1, 2, 9]}), "shape-outside"),
        (region({"name": "rect", "x": 5, "y": 6, "width": 0, "height": 8}), "zero-area"),
        (region({"name": "rect", "x": 5, "y": 6, "width": 9}), "number"),
        (region({"name": "circle", "cx": 5, "cy": 6, "r": 0}), "zero-area"),
        (region({"name": "cube"}), "shape-type"),
        (region(None), "shape-type"),
        (region(**{"class": ""}), "label-missing"),
        ([], "shape-type"),
    ],
)
def test_bad_regions_are_named_and_the_others_stay(tmp_path, bad, code):
    dataset = read_via(annotate(tmp_path, entry(region(), bad)), policy="skip")
    (issue,) = dataset.issues
    assert (issue.code, issue.where.startswith("/p.png123/regions/1")) == (code, True)
    assert dataset.truth(0).masks.to_rle() == TRIANGLE


def test_the_picture_beside_the_file_is_taken(tmp_path):
    annotate(tmp_path / "train", entry(region()))
    annotate(tmp_path / "val", entry())
    dataset = read_via(tmp_path)
    assert [(record.split, len(record.objects.annotations)) for record in dataset.records] == [("train", 1), ("val", 0)]
    assert [record.image.parent.name for record in dataset.records] == ["train", "val"]


def test_two_files_for_one_picture_are_not_guessed(tmp_path):
    annotate(tmp_path, entry(region()))
    with pytest.raises(DataError, match=r"listed in /p\.png123 already"):
        read_via(annotate(tmp_path, entry(region()), "other.json"))


def test_objects_with_holes_and_several_parts_keep_their_pixels(tmp_path, caplog):
    mask = np.zeros((40, 60), bool)
    mask[2:20, 2:20] = mask[25:30, 40:50] = True
    mask[5:9, 5:9] = mask[12:15, 3:18] = False
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    shape = Rle(Masks.from_dense(mask[None]).to_rle()[0])
    record = Record(
        "p", tmp_path / "p.png", (40, 60), Objects((Annotation(1, shape), Annotation(0, shape, crowd=True)))
    )
    write_via(tmp_path / "out", Dataset(labels_of(["z", "a"]), (record,), "fake", tmp_path))
    assert "1 crowd regions left out" in caplog.text
    assert [found.name for found in find_formats(tmp_path / "out")] == ["via"]
    again = read_via(tmp_path / "out")
    assert again.labels.names == ("z", "a")
    assert np.array_equal(again.truth(0).masks.to_dense(0), mask)
