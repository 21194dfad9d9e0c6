"""What all conversions share: dense masks, and objects made of columns that came from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from everymask.core.arrays import Array, BoolArray, IntArray
from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError


def dense(masks: Masks) -> BoolArray:
    """All masks in the whole picture, bool [N, H, W]: N times the memory of the picture."""
    whole = np.zeros((len(masks), *masks.size), bool)
    for row in range(len(masks)):
        whole[row] = masks.to_dense(row)
    return whole


def names_of(found: InstanceSet, labels: Labels) -> list[str]:
    """The class name of each object."""
    return [labels.names[k] for k in found.class_ids.tolist()]


def labels_from(class_ids: IntArray, names: Iterable[str]) -> Labels:
    """Labels in which each of `class_ids` [N] has its name of `names`; ids between them are called `class 3`."""
    known = dict(zip(class_ids.tolist(), map(str, names), strict=True))
    return Labels(tuple(known.get(k, f"class {k}") for k in range(max(known, default=-1) + 1)))


def masks_from(masks: Array, size: Size) -> Masks:
    """Dense masks [N, H, W] of a picture of `size` (H, W), where they are not 0; `DataError` for another shape."""
    if masks.ndim != 3 or masks.shape[1:] != size:
        raise DataError(f"masks must be [N, {size[0]}, {size[1]}] like the picture, but got {list(masks.shape)}")
    return Masks.from_dense(masks.astype(bool)) if len(masks) else Masks.empty(size)


def objects(boxes: Array, class_ids: Array, scores: Array | None, masks: Masks | None, labels: Labels) -> InstanceSet:
    """Objects from `boxes` [N, 4] xyxy, `class_ids` [N], `scores` [N] and N masks; `DataError` where they do not belong
    together, or a class is none of `labels`.
    """
    ids = np.asarray(class_ids, np.int64).reshape(-1)
    unknown = sorted({*ids.tolist()} - {*range(len(labels))})
    if unknown:
        raise DataError(
            f"class ids must be 0 to {len(labels) - 1}, as there are {len(labels)} labels, but got {unknown[0]}",
            hint="give the labels by which these objects are numbered",
        )
    try:
        return InstanceSet(
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            class_ids=ids,
            scores=None if scores is None else np.asarray(scores, np.float32).reshape(-1),
            masks=masks,
        )
    except ValueError as error:
        raise DataError(f"these columns are not of the same objects: {error}") from error
