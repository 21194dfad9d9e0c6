"""Which colour an object is drawn in."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import ByteArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet

# Tones of a class's colour: as it is, then by these shares towards white or black. They keep the hue and stay close.
_TONES = ((0.0, 0), (0.3, 255), (0.2, 0), (0.5, 255))


def class_colours(instances: InstanceSet, labels: Labels) -> ByteArray:
    """A colour [N, 3] for each object: that of its class."""
    return np.array(labels.colours, np.uint8).reshape(-1, 3)[instances.class_ids]


def object_colours(instances: InstanceSet, labels: Labels) -> ByteArray:
    """As `class_colours`, but beside an object of the same class in another tone."""
    colours = class_colours(instances, labels).astype(np.float64)
    for class_id in np.unique(instances.class_ids):
        rows = np.flatnonzero(instances.class_ids == class_id)
        share, target = np.array(_TONES)[_numbers_apart(instances.boxes[rows], len(_TONES))].T[..., None]
        colours[rows] += share * (target - colours[rows])
    return colours.round().astype(np.uint8)


def _numbers_apart(boxes: FloatArray, count: int) -> IntArray:
    """Numbers below `count`, [N], that objects whose boxes nearly touch seldom share: greedy colouring in row order.

    Each row gets the least used number of its neighbours; of equals the first.
    """
    margin = np.sum(boxes[:, 2:] - boxes[:, :2]) / max(1, boxes.size) / 4
    x1, y1, x2, y2 = np.ascontiguousarray((boxes + np.array((-margin, -margin, margin, margin), boxes.dtype)).T)
    chosen = np.zeros(len(boxes), np.int64)
    for row in range(1, len(boxes)):
        near = (x1[:row] < x2[row]) & (x2[:row] > x1[row]) & (y1[:row] < y2[row]) & (y2[:row] > y1[row])
        chosen[row] = np.bincount(chosen[:row][near], minlength=count).argmin()
    return chosen
