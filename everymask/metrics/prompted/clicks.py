"""Where a user would click next: into the middle of what is most wrong (RITM's protocol; Sofiiuk et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.segmentation import InstanceSet

_INNER = 0.5


@dataclass(frozen=True, slots=True)
class Click:
    """A pixel (column, row), and whether the object has it."""

    x: int
    y: int
    positive: bool


def next_click(truth: BoolArray, found: BoolArray, clicked: IntArray) -> Click:
    """The pixel that is farthest from where truth and answer agree, both [H, W].

    Pixels `clicked` [K, 2] xy before are passed over. Of equals the first row by row is taken, and one beside the
    object before one on it; where all is right, the first pixel.
    """
    missed, invented = (_depths(wrong) for wrong in (truth & ~found, found & ~truth))
    for depths in (missed, invented):
        depths[clicked[:, 1], clicked[:, 0]] = 0
    positive = bool(missed.max() > invented.max())
    y, x = divmod(int((missed if positive else invented).argmax()), truth.shape[1])
    return Click(x, y, positive)


def drawn_click(truth: BoolArray, found: BoolArray, draw: np.random.Generator) -> Click:
    """A pixel drawn from the inner half of what is most wrong, or of the object where all is right; to learn from."""
    missed, invented = (_depths(wrong) for wrong in (truth & ~found, found & ~truth))
    deepest = max(missed.max(), invented.max())
    if deepest == 0:
        missed = _depths(truth)
        deepest = missed.max()
    positive = bool(missed.max() >= invented.max())
    places = np.flatnonzero((missed if positive else invented) > _INNER * deepest)
    y, x = divmod(int(places[draw.integers(len(places))]), truth.shape[1])
    return Click(x, y, positive)


def pointed_at(truth: InstanceSet) -> IntArray:
    """The rows of the objects that can be pointed at: those that have pixels and are no crowds."""
    if truth.masks is None:
        return np.zeros(0, np.int64)
    crowd = np.zeros(len(truth), np.bool_) if truth.crowd is None else truth.crowd
    return np.flatnonzero((truth.masks.areas() > 0) & ~crowd)


def _depths(region: BoolArray) -> FloatArray:
    """How far each pixel is from the nearest one that is not in the region, as those beyond the border are not."""
    padded = np.pad(region.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1], np.float32)
