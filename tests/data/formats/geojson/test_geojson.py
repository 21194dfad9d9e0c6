"""GeoJSON in pixels: holes, parts, classes as QuPath and others write them, and what is wrong with features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.geojson.files import looks_like_geojson, read_geojson, write_geojson
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import DataError

RING = [[2, 2], [20, 2], [20, 12.5], [2, 12.5], [2, 2]]
HOLE = [[5, 5], [5, 9], [9, 9], [9, 5], [5, 5]]


def feature(coordinates: Any = (RING,), kind: str = "Polygon", **properties) -> dict:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": "PathAnnotationObject", "geometry": geometry, "properties": properties}


def classified(name: str = "Tumor", **more) -> dict:
    return {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}, **more}


def annotate(root: Path, *features: Any, name: str = "p.geojson", picture: str = "p.png") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    Image.new("L", (60, 40)).save(root / picture)
    (root / name).write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return root


def codes(root: Path) -> list[str]:
    return [issue.code for issue in read_geojson(root, policy="skip").issues]


def test_holes_parts_and_classes_of_qupath(tmp_path):
    parts = [[RING, HOLE], [[[30, 20], [40, 20], [40, 30], [30, 30], [30, 20]]]]
    features = [
        feature(**classified()),
        feature([RING, HOLE], **classified("Stroma")),
        feature(parts, "MultiPolygon", **classified()),
        feature([[3, 4]], "LineString", **classified()),
    ]
    dataset = read_dataset(annotate(tmp_path, *features))
    assert (dataset.format, dataset.labels.names) == ("geojson", ("Stroma", "Tumor"))
    truth = dataset.truth(0)
    assert dataset.records[0].objects.annotations[0].shape.rings[0].tolist() == RING[:-1]  # without the closing point
    assert truth.class_ids.tolist() == [1, 0, 1]
    whole = Masks.from_polygons([[np.array(RING[:-1])]], (40, 60)).to_dense(0)
    hollow = whole.copy()
    hollow[5:9, 5:9] = False
    assert np.array_equal(truth.masks.to_dense(0), whole)
    assert np.array_equal(truth.masks.to_dense(1), hollow)
    assert truth.masks.areas()[2] == hollow.sum() + 100
    assert [(issue.code, issue.count) for issue in dataset.issues] == [("no-area-LineString", 1)]


@pytest.mark.parametrize("form", ["collection", "list", "feature"])
def test_forms_of_files(tmp_path, form):
    single = feature(**classified())
    annotate(tmp_path, single)
    document = {"collection": {"type": "FeatureCollection", "features": [single]}, "list": [single], "feature": single}
    (tmp_path / "p.geojson").unlink()
    (tmp_path / "p.json").write_text(json.dumps(document[form]))
    dataset = read_dataset(tmp_path)
    assert (dataset.format, len(dataset.truth(0))) == ("geojson", 1)


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ({"class": "a"}, ("a",)),
        ({"label": "a", "name": "cell 3"}, ("a",)),
        ({"classification": "a"}, ("a",)),
        ({"name": "cell 3"}, ("object",)),
        ({}, ("object",)),
    ],
)
def test_other_properties_that_mean_the_class(tmp_path, properties, names):
    assert read_geojson(annotate(tmp_path, feature(**properties))).labels.names == names


@pytest.mark.parametrize(
    ("name", "picture"),
    [("p.geojson", "p.tif"), ("p.png.geojson", "p.png"), ("p.geojson", "p.ome.tif"), ("p.ome.geojson", "p.ome.tif")],
)
def test_which_picture_a_file_belongs_to(tmp_path, name, picture):
    assert read_geojson(annotate(tmp_path, feature(), name=name, picture=picture)).records[0].image.name == picture


def test_ignored_regions_have_no_truth_and_crowds_are_crowds(tmp_path):
    far = [[[30, 20], [40, 20], [40, 30], [30, 20]]]
    features = [feature(**classified()), feature(far, **classified("Ignore*")), feature(far, **classified(crowd=True))]
    dataset = read_geojson(annotate(tmp_path, *features))
    assert dataset.labels.names == ("Tumor",)
    assert len(dataset.records[0].objects.ignored) == 1
    assert dataset.truth(0).crowd.tolist() == [False, True]
    assert dataset.semantic().label_map(0).ids[21, 38] == 255


def test_an_empty_file_says_that_there_is_nothing(tmp_path):
    dataset = read_geojson(annotate(tmp_path))
    assert dataset.records[0].annotated
    assert len(dataset.truth(0)) == 0


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (feature([[[1, 2], [3, 4], [1, 2]]], **classified()), "zero-area"),
        (feature([[[1, 2]]], **classified()), "point-count"),
        (feature([[[1, 2], [3, "4"], [5, 6]]], **classified()), "point"),
        (feature([], **classified()), "point"),
        (feature(None, **classified()), "point"),
        (feature([RING, None], **classified()), "point"),
        (feature([[[90, 2], [95, 2], [95, 9]]], **classified()), "shape-outside"),
        (feature(), "label-missing"),
        (feature(kind="Circle", **classified()), "shape-type"),
        ({"type": "Feature", "geometry": None, "properties": {}}, "shape-type"),
        ("text", "shape-type"),
    ],
)
def test_bad_features_are_named_and_the_others_stay(tmp_path, bad, code):
    dataset = read_geojson(annotate(tmp_path, feature(**classified()), bad), policy="skip")
    (issue,) = dataset.issues
    assert (issue.code, issue.where.startswith("/features/1")) == (code, True)
    assert len(dataset.truth(0)) == 1


def test_maps_and_files_without_features_are_refused(tmp_path):
    annotate(tmp_path)
    document = {"type": "FeatureCollection", "features": [], "crs": {"type": "name"}}
    (tmp_path / "p.geojson").write_text(json.dumps(document))
    assert codes(tmp_path) == ["geojson-crs"]
    (tmp_path / "p.geojson").write_text('{"type": "FeatureCollection"}')
    assert codes(tmp_path) == ["geojson-top"]
    annotate(tmp_path, feature(), name="q.geojson")
    assert "picture-missing" in codes(tmp_path)


def test_parts_holes_and_the_order_of_classes_are_kept(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    mask = np.zeros((40, 60), bool)
    mask[2:20, 2:20] = mask[25:30, 40:50] = True
    mask[5:9, 5:9] = False
    rings = tuple(np.array([[x, 2.0], [x + 9.25, 3.0], [x + 4.0, 20.25]]) for x in (3.0, 8.0))
    objects = (Annotation(1, Rle(Masks.from_dense(mask[None]).to_rle()[0])), Annotation(0, Polygons(rings)))
    made = Dataset(labels_of(["z", "a"]), (Record("p", tmp_path / "p.png", (40, 60), Objects(objects)),), "x", tmp_path)
    write_geojson(tmp_path / "out", made)
    again = read_geojson(tmp_path / "out")
    assert again.labels.names == ("z", "a")
    assert again.truth(0).masks.to_rle() == made.truth(0).masks.to_rle()
    assert again.truth(0).class_ids.tolist() == [1, 0]


def test_boxes_are_refused_and_other_json_is_not_taken(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    record = Record("p", tmp_path / "p.png", (40, 60), Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 5.0, 5.0)),)))
    with pytest.raises(DataError, match="expected a mask for every object"):
        write_geojson(tmp_path / "out", Dataset(labels_of(["a"]), (record,), "fake", tmp_path, boxes_only=True))
    (tmp_path / "x.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert not looks_like_geojson(tmp_path)
