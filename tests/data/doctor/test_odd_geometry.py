"""What shapes of objects tell."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.segmentation import InstanceSet
from everymask.data.doctor.geometry import count_shapes, drawn_twice, outliers


def objects(*masks: np.ndarray, classes: list[int] | None = None, crowd: list[bool] | None = None) -> InstanceSet:
    drawn = Masks.from_dense(np.stack(masks))
    return InstanceSet(
        boxes=drawn.boxes().astype(np.float32),
        class_ids=np.array(classes or [0] * len(masks)),
        masks=drawn,
        crowd=None if crowd is None else np.array(crowd),
    )


def square(y: int, x: int, side: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_parts_holes_overlaps_and_the_border_are_counted() -> None:
    ring = square(2, 2, 10) & ~square(5, 5, 3)
    parts = square(20, 2, 5) | square(30, 30, 5)
    touching = square(0, 20, 6)
    speck = square(15, 35, 2)
    over = square(10, 10, 6)  # shares pixels with the ring
    found = count_shapes(objects(ring, parts, touching, speck, over))
    assert found == {
        "looked at": 5,
        "with holes": 1,
        "in several parts": 1,
        "at the border": 1,
        "fewer than 16 pixels": 1,
        "sharing pixels with another": 2,
    }


def test_crowds_are_not_judged_and_diagonal_neighbours_are_one_part() -> None:
    diagonal = square(5, 5, 5) | square(10, 10, 5)
    assert count_shapes(objects(diagonal, square(0, 0, 40), crowd=[False, True])) == {
        "looked at": 1,
        "fewer than 16 pixels": 0,
        "at the border": 0,
        "in several parts": 0,
        "with holes": 0,
        "sharing pixels with another": 0,
    }


@pytest.mark.parametrize("boxes_only", [False, True])
def test_an_object_that_is_drawn_twice_is_found(boxes_only: bool) -> None:
    nearly = square(10, 10, 20) & ~square(10, 10, 2)
    made = objects(square(10, 10, 20), nearly, square(10, 10, 20), square(5, 5, 20), classes=[0, 0, 1, 0])
    if boxes_only:
        made = InstanceSet(boxes=made.boxes, class_ids=made.class_ids)
    assert drawn_twice(made) == [(0, 1)]


def test_only_what_is_far_from_its_whole_class_is_unlike_it() -> None:
    sides = np.exp(rng(0, "sides").normal(3, 0.3, size=200))
    boxes = np.stack([np.full(200, 5.0), np.full(200, 5.0), 5 + sides, 5 + sides], axis=1)
    classes, whole = np.zeros(200, np.int64), np.ones(200, bool)
    assert outliers(classes, sides**2, boxes, whole) == []
    boxes[7, 2:] = 5 + 400, 5 + 400
    boxes[8, 2:] = 5 + 200, 5 + 2
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    found = outliers(classes, areas, boxes, whole)
    assert [(outlier.row, outlier.what.partition(" times ")[2]) for outlier in found] == [
        (8, "more elongated"),
        (7, "larger"),
    ]
    whole[7] = False
    assert [outlier.row for outlier in outliers(classes, areas, boxes, whole)] == [8]
    assert outliers(classes[:29], areas[:29], boxes[:29], whole[:29]) == []
