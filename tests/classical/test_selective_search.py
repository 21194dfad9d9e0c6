"""Selective search: regions are merged by likeness, and objects are among the boxes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from everymask.classical.selective_search import SelectiveSearch, merged_boxes
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import ConfigError, MissingExtra
from scripts.proposal_recall import overlaps

pytest.importorskip("skimage")


def test_the_two_that_are_most_alike_are_merged_first() -> None:
    """Four strips, of which the second and third have nearly one colour."""
    planes = np.zeros((16, 32, 3), np.uint8)
    ids = np.repeat(np.arange(4), 8)[None].repeat(16, axis=0)
    planes[:] = np.array([0, 120, 122, 255], np.uint8)[ids][..., None]
    boxes = merged_boxes(ids, planes)
    assert boxes[:4].tolist() == [[0, 0, 8, 16], [8, 0, 16, 16], [16, 0, 24, 16], [24, 0, 32, 16]]
    assert boxes[4].tolist() == [8, 0, 24, 16]
    assert boxes[-1].tolist() == [0, 0, 32, 16] and len(boxes) == 7


def test_objects_are_among_the_boxes() -> None:
    search = SelectiveSearch()
    found = []
    for index in range(2):
        sample = draw_shapes(ShapesConfig(pictures=4, seed=1), index)
        boxes = search.boxes(sample.image)
        assert boxes.dtype == np.float32 and len(np.unique(boxes, axis=0)) == len(boxes)
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= 128).all()
        found.append(overlaps(sample.truth.boxes, boxes))
    assert (np.concatenate(found) >= 0.5).mean() >= 0.8


def test_boxes_are_those_of_the_picture_before_it_is_shrunk_and_no_more_than_asked_for() -> None:
    image = draw_shapes(ShapesConfig(pictures=1, seed=1), 0).image
    boxes = SelectiveSearch(side=64, most=5).boxes(image)
    assert len(boxes) == 5 and boxes[:, 2:].max() > 64


def test_a_plain_picture_has_one_box() -> None:
    assert SelectiveSearch().boxes(np.full((20, 30, 3), 7, np.uint8)).tolist() == [[0, 0, 30, 20]]


def test_what_cannot_be_searched_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="at least one box"):
        SelectiveSearch(most=0)
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtra, match="classical"):
        SelectiveSearch().boxes(np.zeros((20, 30, 3), np.uint8))
