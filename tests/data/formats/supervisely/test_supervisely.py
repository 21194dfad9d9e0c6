"""Supervisely: polygons with holes as its SDK paints them, bitmaps, rectangles, datasets and tags."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.supervisely.files import looks_like_supervisely, read_supervisely, write_supervisely
from everymask.data.formats.supervisely.objects import encode_bitmap
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Record
from everymask.errors import DataError

SQUARE = [[5, 6], [14, 6], [14, 12], [5, 12]]


def shape(kind: str = "polygon", label: str = "b", exterior=SQUARE, interior=(), **more) -> dict:
    points = {"points": {"exterior": exterior, "interior": list(interior)}} if kind in ("polygon", "rectangle") else {}
    return {"classTitle": label, "geometryType": kind, **points, **more}


def bitmap(mask: np.ndarray, origin=(3, 4)) -> dict:
    return shape("bitmap", bitmap={"data": encode_bitmap(mask), "origin": list(origin)})


def annotate(root: Path, *objects: dict, dataset: str = "ds0", size=(40, 60), tags=()) -> Path:
    for folder in ("img", "ann"):
        (root / dataset / folder).mkdir(parents=True, exist_ok=True)
    seed = sum(dataset.encode())
    Image.fromarray(np.full((40, 60), seed % 256, np.uint8)).save(root / dataset / "img" / "p.png")
    document = {"size": {"height": size[0], "width": size[1]}, "objects": list(objects),
                "tags": [{"name": tag} for tag in tags]}  # fmt: skip
    (root / dataset / "ann" / "p.png.json").write_text(json.dumps(document))
    classes = [{"title": name, "shape": "any", "color": "#ff0000"} for name in ("b", "a")]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    return root


def png(image: Image.Image, **options) -> str:
    stream = io.BytesIO()
    image.save(stream, format="PNG", **options)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def test_polygons_include_the_pixels_of_their_edges_and_holes_do_not(tmp_path):
    hole = [[8, 8], [10, 8], [10, 10], [8, 10]]
    dataset = read_dataset(annotate(tmp_path, shape(interior=[hole])))
    assert (dataset.format, dataset.labels.names) == ("supervisely", ("b", "a"))
    expected = np.zeros((40, 60), bool)
    expected[6:13, 5:15] = True
    expected[8:11, 8:11] = False
    assert np.array_equal(dataset.truth(0).masks.to_dense(0), expected)
    assert dataset.issues == ()


def test_bitmaps_in_every_kind_of_png(tmp_path):
    mask = np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 0]], bool)
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    clear = Image.fromarray(np.dstack([np.full((3, 4, 3), 255, np.uint8), mask.astype(np.uint8) * 200]))
    palette = Image.fromarray((~mask).astype(np.uint8))
    palette.putpalette([9, 9, 9, 8, 8, 8])
    kinds = [encode_bitmap(mask), png(grey), png(grey.convert("1")), png(clear), png(palette, transparency=1)]
    objects = [shape("bitmap", bitmap={"data": data, "origin": [50, 30]}) for data in kinds]
    objects.append(shape("alpha_mask", alpha_mask={"data": png(clear), "origin": [50, 30]}))
    truth = read_supervisely(annotate(tmp_path, *objects)).truth(0)
    assert len(truth) == 6
    for row in range(6):
        assert np.array_equal(truth.masks.to_dense(row)[30:33, 50:54], mask), row
        assert truth.masks.areas()[row] == 7


def test_rectangles_include_both_corners(tmp_path):
    dataset = read_supervisely(annotate(tmp_path, shape("rectangle", exterior=[[14, 12], [5, 6]])))
    assert dataset.boxes_only
    assert dataset.truth(0).boxes.tolist() == [[5, 6, 15, 13]]


def test_splits_are_folders_or_tags(tmp_path):
    annotate(tmp_path, dataset="train/datasets/inner")
    annotate(tmp_path, dataset="Validation")
    annotate(tmp_path, dataset="third", tags=("good", "test"))
    annotate(tmp_path, dataset="fourth", tags=("train", "test"))
    assert read_supervisely(tmp_path).splits() == {"val": 1, "test": 1, "train": 1}
    assert looks_like_supervisely(tmp_path / "third")
    assert read_supervisely(tmp_path / "third").splits() == {"test": 1}
    assert not looks_like_supervisely(tmp_path / "third" / "img")


def test_pictures_without_annotation_file_are_not_annotated(tmp_path):
    annotate(tmp_path, shape())
    Image.new("L", (60, 40)).save(tmp_path / "ds0/img/q.png")
    dataset = read_supervisely(tmp_path)
    assert [record.annotated for record in dataset.records] == [True, False]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (shape(exterior=[[1, 2], [3, 4]]), "point-count"),
        (shape(exterior=[[1, 2], [3, "4"], [5, 6]]), "point"),
        (shape(exterior=None), "point"),
        (shape(interior=[[[1, 2]]]), "point-count"),
        (shape(exterior=[[90, 2], [95, 4], [99, 9]]), "shape-outside"),
        (shape("rectangle"), "point-count"),
        (bitmap(np.ones((3, 3), bool), origin=(-9, 4)), "shape-outside"),
        (bitmap(np.ones((3, 3), bool), origin=(3.5, 4)), "mask"),
        (bitmap(np.ones((41, 3), bool)), "mask"),
        (bitmap(np.zeros((3, 3), bool)), "empty-mask"),
        (shape("bitmap", bitmap={"data": "????", "origin": [1, 1]}), "mask"),
        (shape("bitmap"), "mask"),
        (shape(label="c"), "unknown-class"),
        (shape(label=""), "label-missing"),
        (shape("sphere"), "shape-type"),
        (shape("point"), "no-area-point"),
        ([], "shape-type"),
    ],
)
def test_bad_objects_are_named_and_the_others_stay(tmp_path, bad, code):
    dataset = read_supervisely(annotate(tmp_path, shape(), bad), policy="skip")
    assert [issue.code for issue in dataset.issues] == [code]
    assert len(dataset.truth(0)) == 1


def test_files_that_are_wrong_as_a_whole(tmp_path):
    with pytest.raises(DataError, match="60 x 41"):
        read_supervisely(annotate(tmp_path, shape(), size=(41, 60)))
    (tmp_path / "ds0/ann/p.png.json").write_text("[]")
    with pytest.raises(DataError, match="a list called objects"):
        read_supervisely(tmp_path)
    annotate(tmp_path, shape())
    (tmp_path / "meta.json").write_text('{"classes": {}}')
    with pytest.raises(DataError, match="expected a list of classes"):
        read_supervisely(tmp_path)


def test_boxes_that_move_are_counted(tmp_path, caplog):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    boxes = ((1.0, 2.0, 9.0, 7.0), (1.2, 2.0, 9.0, 7.0))
    objects = Objects(tuple(Annotation(0, BoxOnly(), box) for box in boxes))
    record = Record("p", tmp_path / "p.png", (40, 60), objects)
    write_supervisely(tmp_path / "out", Dataset(labels_of(["a"]), (record,), "fake", tmp_path, boxes_only=True))
    assert "1 boxes moved to whole pixels" in caplog.text
    assert read_supervisely(tmp_path / "out").truth(0).boxes.tolist() == [[1, 2, 9, 7]] * 2
