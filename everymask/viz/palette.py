"""Which colour an object is drawn in."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import ByteArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet

# Ten hues that stay apart on dark fluorescence, on purple stain and on photographs.
_HUES = np.array(
    [
        (64, 156, 255),
        (255, 159, 28),
        (46, 213, 115),
        (255, 82, 119),
        (165, 120, 255),
        (20, 206, 214),
        (246, 216, 43),
        (255, 122, 69),
        (155, 222, 60),
        (240, 110, 220),
    ],
    np.uint8,
)
# Tones of a class's colour: as it is, then by these shares towards white or black.
_TONES = ((0.0, 0), (0.25, 255), (0.25, 0), (0.5, 255), (0.45, 0))


def object_colours(instances: InstanceSet, labels: Labels) -> ByteArray:
    """A colour [N, 3] for each object, in which it differs from the neighbours it could be confused with.

    That is its class's colour, in another tone beside an object of the same class; in a set of one class it is a hue
    of its own.
    """
    boxes, class_ids = instances.boxes, instances.class_ids
    if len(labels) == 1:
        return np.asarray(_HUES[_numbers_apart(boxes, len(_HUES), np.arange(len(boxes)))], np.uint8)
    colours = np.array(labels.colours, np.float64).reshape(-1, 3)[class_ids]
    for class_id in np.unique(class_ids):
        rows = np.flatnonzero(class_ids == class_id)
        tones = _numbers_apart(boxes[rows], len(_TONES), np.zeros(len(rows), np.int64))
        share, target = np.array(_TONES)[tones].T[..., None]
        colours[rows] += share * (target - colours[rows])
    return colours.round().astype(np.uint8)


def _numbers_apart(boxes: FloatArray, count: int, wanted: IntArray) -> IntArray:
    """Numbers below `count`, [N], that objects whose boxes nearly touch seldom share: greedy colouring in row order.

    Row `i` gets the least used number of its neighbours; of equals the first from `wanted[i]` on.
    """
    margin = np.sum(boxes[:, 2:] - boxes[:, :2]) / max(1, boxes.size)
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    chosen = np.zeros(len(boxes), np.int64)
    for row, first in enumerate((wanted % count).tolist()):
        near = (low[:row] < high[row]).all(axis=1) & (low[row] < high[:row]).all(axis=1)
        used = np.bincount(chosen[:row][near], minlength=count)
        chosen[row] = (first + np.argmin(np.roll(used, -first))) % count
    return chosen
