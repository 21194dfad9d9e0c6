"""One object, one detection: what a detector says more than once of the same object."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError

DUPLICATE_IOU = 0.8
"""Objects that overlap by more are one object. Of 6,765 pairs of annotated objects in COCO128 one does so by its masks
and four by their boxes, of a million pairs of nuclei none."""


def without_duplicates(instances: InstanceSet, iou: float = DUPLICATE_IOU) -> InstanceSet:
    """The objects, but of those that overlap by more than `iou` (0-1) only the surest, whatever their classes.

    Overlap is the intersection over union of the masks, or of the boxes where there are no masks. A detector suppresses
    boxes class by class, so that it finds an object of which it is unsure once as each of several classes. An object
    goes when it overlaps with a surer one that stays (of equals, and without scores, with an earlier one); the others
    keep their order. With 1 all stay. Memory grows with the number of objects, not with its square.
    `ConfigError` for another `iou`.

    >>> once = without_duplicates(result.instances, 0.8)
    """
    check_duplicate_iou(iou)
    if iou == 1 or len(instances) < 2:
        return instances
    masks = instances.masks
    corners = instances.boxes.astype(np.float64) if masks is None else masks.windows.astype(np.int64)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1) if masks is None else masks.areas()
    first = np.arange(len(instances)) if instances.scores is None else np.argsort(-instances.scores, kind="stable")
    kept = np.zeros(len(instances), np.bool_)
    for row in first.tolist():
        rivals = np.flatnonzero(kept)
        near = rivals[_most_overlap(corners, areas, row, rivals) > iou]
        kept[row] = not near.size or (masks is not None and not _overlaps(masks, row, near, iou))
    return instances if kept.all() else instances[kept]


def check_duplicate_iou(iou: float) -> None:
    """`ConfigError` for an IoU that is not between 0 and 1."""
    if not 0 <= iou <= 1:
        raise ConfigError(
            f"the IoU of duplicates must lie between 0 and 1, but got {iou}", hint="0.8 is usual; 1 keeps all objects"
        )


def _most_overlap(corners: Array, areas: Array, row: int, rivals: IntArray) -> FloatArray:
    """The IoU [R] of one box with those of `rivals` [R]; of masks the most that windows and areas allow."""
    low = np.maximum(corners[row, :2], corners[rivals, :2])
    high = np.minimum(corners[row, 2:], corners[rivals, 2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    common = np.minimum(shared, np.minimum(areas[row], areas[rivals]))
    bound: FloatArray = common / np.maximum(areas[row] + areas[rivals] - common, 1e-9)
    return bound


def _overlaps(masks: Masks, row: int, rivals: IntArray, iou: float) -> bool:
    above: BoolArray = masks[row].iou(masks[rivals]) > iou
    return bool(above.any())
