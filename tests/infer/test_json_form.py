"""Results as JSON: all that they hold, in text and back."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap, InstanceSet, PanopticMap, Segment, Segmentation, SemanticMap
from everymask.errors import DataError
from everymask.infer.result import Result

LABELS = Labels(("cell", "dust"), ((9, 8, 7), (1, 2, 3)), frozenset({0}))
DRAW = rng(3, "json")
IMAGE = np.zeros((13, 17, 3), np.uint8)
MASKS = Masks.from_dense(DRAW.random((3, 13, 17)) > 0.6)
BOXES = DRAW.random((3, 4)).astype(np.float32)
IDS = DRAW.integers(0, 2, (13, 17)).astype(np.uint8)
FOUND: dict[str, Segmentation] = {
    "instances": InstanceSet(BOXES, np.array([1, 0, 1]), np.array([0.1, 0.5, 1 / 3], np.float32), MASKS),
    "boxes": InstanceSet(BOXES, np.array([1, 0, 1]), np.array([0.1, 0.5, 1 / 3], np.float32)),
    "truth": InstanceSet(BOXES, np.array([1, 0, 1]), None, MASKS, np.array([4, 2, 9]), np.array([True, False, False])),
    "nothing": InstanceSet.empty((13, 17), scored=True),
    "map": SemanticMap(np.where(IDS == 1, np.uint8(255), IDS)),
    "scored": SemanticMap(IDS, DRAW.random((13, 17)).astype(np.float32)),
    "many classes": SemanticMap(IDS.astype(np.int32) * 700),
    "change": ChangeMap(IDS, DRAW.random((13, 17)).astype(np.float32)),
    "what became of what": ChangeMap(IDS, was=2 * IDS),
    "panoptic": PanopticMap(IDS.astype(np.int32) * 300, (Segment(300, 1, 0.25), Segment(0, 0, None, True))),
}
KINDS = {kind.kind for kind in get_args(Segmentation)}


def result(found: Segmentation) -> Result:
    return Result(Sample(IMAGE, id="ü", file="a/ü.png"), found, LABELS, 0.125)


def same(first: object, second: object) -> None:
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype  # type: ignore[attr-defined]
        np.testing.assert_array_equal(first, second)  # type: ignore[arg-type]
    elif isinstance(first, Masks):
        assert first.size == second.size and first.to_rle() == second.to_rle()  # type: ignore[attr-defined]
    elif isinstance(first, InstanceSet | SemanticMap | PanopticMap):
        for column in fields(first):
            same(getattr(first, column.name), getattr(second, column.name))
    else:
        assert first == second


def test_every_kind_of_segmentation_has_a_form() -> None:
    assert {type(found) for found in FOUND.values()} == {*get_args(Segmentation)}
    assert len(KINDS) == len(get_args(Segmentation)), "two kinds with one name"


@pytest.mark.parametrize("name", FOUND)
def test_what_is_written_is_read_again(name: str) -> None:
    before = result(FOUND[name])
    text = json.dumps(before.to_json(scores=True), allow_nan=False)
    after = Result.from_json(json.loads(text), IMAGE)
    same(before.segmentation, after.segmentation)
    assert (after.id, after.file, after.seconds, after.labels) == ("ü", "a/ü.png", 0.125, LABELS)


def test_objects_say_what_they_are() -> None:
    data = result(FOUND["instances"]).to_json()
    assert (data["kind"], data["size"], data["labels"]["names"]) == ("instances", [13, 17], ["cell", "dust"])
    [first, *_] = data["objects"]
    assert (first["class_id"], first["class"], first["score"]) == (1, "dust", 0.1)
    assert first["mask"] == {"size": [13, 17], "counts": MASKS.to_rle()[0].decode()}
    assert np.float32(first["box"]).tolist() == BOXES[0].tolist()


def test_a_label_map_is_a_png_that_others_read() -> None:
    data = result(FOUND["map"]).to_json()
    with Image.open(io.BytesIO(base64.b64decode(data["map"]["png"]))) as image:
        np.testing.assert_array_equal(np.asarray(image), FOUND["map"].ids)
    assert "scores" not in data and "scores" not in result(FOUND["scored"]).to_json()


def test_what_belongs_to_another_picture_or_is_damaged_is_refused() -> None:
    for name in ("instances", "map"):
        data = result(FOUND[name]).to_json()
        with pytest.raises(DataError, match=r"for a picture of \[5, 17\], but this one is of schema 1 for \[13, 17\]"):
            Result.from_json(data, IMAGE[:5])
        with pytest.raises(DataError, match="of a picture of"):
            Result.from_json({**data, "size": [5, 17]}, IMAGE[:5])
        with pytest.raises(DataError, match="schema 7"):
            Result.from_json({**data, "schema": 7}, IMAGE)
        with pytest.raises(DataError, match=r"of kind [a-z ]+, but got 'volume'"):
            Result.from_json({**data, "kind": "volume"}, IMAGE)
    data = result(FOUND["map"]).to_json()
    colours = io.BytesIO()
    Image.new("RGB", (17, 13)).save(colours, "PNG")
    for png in (base64.b64decode(data["map"]["png"])[:60], b"no picture", colours.getvalue()):
        with pytest.raises(DataError, match="label map"):
            Result.from_json({**data, "map": {"dtype": "uint8", "png": base64.b64encode(png).decode()}}, IMAGE)
    with pytest.raises(DataError, match="incomplete or damaged"):
        Result.from_json({**data, "map": {"dtype": "uint8", "png": "%"}}, IMAGE)
    with pytest.raises(DataError, match="incomplete or damaged: KeyError"):
        Result.from_json({key: value for key, value in data.items() if key != "map"}, IMAGE)


def test_numbers_beyond_16_bits_are_refused() -> None:
    with pytest.raises(DataError, match="0 to 65535"):
        replace(result(FOUND["map"]), segmentation=SemanticMap(IDS.astype(np.int32) * 70_000)).to_json()
