"""Clicks go into the middle of what is most wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.metrics.prompted.clicks import Click, drawn_click, next_click, pointed_at

NONE = np.zeros((0, 2), np.int64)


def plain(truth: Any, found: Any, clicked: Any) -> Click:
    """RITM's rule, written out: distances to all that is not wrong, a frame of one pixel around the picture too."""
    depths = []
    for wrong in (truth & ~found, found & ~truth):
        right = np.argwhere(~np.pad(wrong, 1)) - 1
        places = np.argwhere(np.ones_like(wrong))
        far = np.sqrt(((places[:, None] - right[None]) ** 2).sum(axis=2).min(axis=1)).reshape(wrong.shape)
        for x, y in clicked:
            far[y, x] = 0
        depths.append(far)
    missed, invented = depths
    positive = missed.max() > invented.max()
    y, x = np.unravel_index((missed if positive else invented).argmax(), truth.shape)
    return Click(int(x), int(y), bool(positive))


@pytest.mark.parametrize("seed", range(12))
def test_the_next_click_is_the_protocols(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth, found = (np.kron(draw.random((3, 4)) < 0.5, np.ones((4, 3), bool)) for _ in range(2))
    clicked = draw.integers(0, 12, size=(seed % 3, 2))
    assert next_click(truth, found, clicked) == plain(truth, found, clicked)


def test_a_tie_is_beside_the_object_and_the_first_of_equals() -> None:
    truth, found = np.zeros((2, 5, 9), bool)
    truth[1:4, 0:3] = found[1:4, 6:9] = True
    assert next_click(truth, found, NONE) == Click(7, 2, positive=False)
    assert next_click(truth, np.zeros_like(truth), NONE) == Click(1, 2, positive=True)
    assert next_click(truth, np.zeros_like(truth), np.array([[1, 2]])) == Click(0, 1, positive=True)
    # A region at the border ends there.
    assert next_click(np.ones((3, 3), bool), np.zeros((3, 3), bool), NONE) == Click(1, 1, positive=True)


def test_clicks_to_learn_from_lie_in_the_inner_half() -> None:
    truth, found = np.zeros((2, 21, 21), bool)
    truth[5:16, 5:16] = True
    clicks = {drawn_click(truth, found, np.random.default_rng(seed)) for seed in range(50)}
    assert len(clicks) > 5 and all(click.positive for click in clicks)
    # Depths are 1 to 6, so those above 3 lie three pixels inside.
    assert all(8 <= click.x <= 12 and 8 <= click.y <= 12 for click in clicks)
    found[:] = True
    assert not drawn_click(truth, found, np.random.default_rng(0)).positive
    right = drawn_click(truth, truth, np.random.default_rng(0))
    assert right.positive and truth[right.y, right.x]


def test_crowds_and_what_has_no_pixels_are_not_pointed_at() -> None:
    planes = np.zeros((3, 4, 4), bool)
    planes[0, :2], planes[2, 2:] = True, True
    masks = Masks.from_dense(planes)
    objects = InstanceSet(masks.boxes(), np.zeros(3, np.int64), masks=masks, crowd=np.array([True, False, False]))
    assert pointed_at(objects).tolist() == [2]
    assert pointed_at(InstanceSet(objects.boxes, objects.class_ids)).tolist() == []
