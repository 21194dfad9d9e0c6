"""What the shapes of objects tell: parts, holes, overlaps, objects at the border, twice, or unlike their class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.segmentation import InstanceSet

_TINY = 16
_TWICE = 0.95
_NEAR = 0.8  # boxes of masks that may be the same
_FEWEST = 30
_FAR = 6.0  # robust standard deviations
_TIMES = 6.0  # as large, or as long, as the median
_SPREAD = 0.15  # of the logarithm: classes of one size must not make outliers of nothing
_TO_DEVIATION = 1.4826  # the median absolute deviation of a normal distribution is 1 / 1.4826 of its standard deviation


@dataclass(frozen=True, slots=True)
class Outlier:
    """An object unlike the others of its class, by its row, and in which way."""

    row: int
    what: str


def count_shapes(objects: InstanceSet) -> Counter[str]:
    """How many objects of a picture are in several parts, have holes, share pixels, touch the border, or are tiny.

    Crowds count nowhere. Without masks nothing is counted but the objects at the border.
    """
    kept = objects if objects.crowd is None else objects[~objects.crowd]
    found: Counter[str] = Counter({"looked at": len(kept)})
    if kept.masks is None:
        return found
    height, width = kept.masks.size
    boxes, areas = kept.masks.boxes(), kept.masks.areas()
    there = areas > 0
    touching = (boxes[:, :2] <= 0).any(axis=1) | (boxes[:, 2] >= width) | (boxes[:, 3] >= height)
    found["at the border"] = int((touching & there).sum())
    found["fewer than 16 pixels"] = int((areas < _TINY).sum())
    cover = np.zeros((height, width), np.uint16)
    crops = [kept.masks.crop(row) for row in range(len(kept))]
    corners = kept.masks.windows[:, :2].tolist()
    for crop, (x, y) in zip(crops, corners, strict=True):
        cover[y : y + crop.shape[0], x : x + crop.shape[1]] += crop
    for crop, (x, y) in zip(crops, corners, strict=True):
        if not crop.size:
            continue
        found["in several parts"] += _pieces(crop) > 1
        found["with holes"] += _pieces(np.pad(~crop, 1, constant_values=True), around=4) > 1
        found["sharing pixels with another"] += bool((cover[y : y + len(crop), x : x + crop.shape[1]][crop] > 1).any())
    return found


def drawn_twice(objects: InstanceSet) -> list[tuple[int, int]]:
    """The pairs of objects of one class whose masks (or boxes, without masks) are the same to 95 %."""
    boxes = objects.boxes.astype(np.float64)
    pairs = []
    for row in range(len(objects) - 1):
        near = _iou(boxes[row], boxes[row + 1 :]) >= (_NEAR if objects.masks is not None else _TWICE)
        near &= objects.class_ids[row + 1 :] == objects.class_ids[row]
        pairs += [(row, row + 1 + int(other)) for other in np.flatnonzero(near)]
    if objects.masks is None:
        return pairs
    return [(a, b) for a, b in pairs if float(objects.masks[[a]].iou(objects.masks[[b]])[0, 0]) >= _TWICE]


def outliers(classes: IntArray, areas: FloatArray, boxes: FloatArray, whole: BoolArray) -> list[Outlier]:
    """The objects whose size or shape is far from all others of their class, the farthest first.

    `areas` in pixels and `boxes` xyxy of all objects [N]; those that are not `whole` (cut off by the border, crowds)
    are not judged. A class needs 30 whole objects. Far is more than 6 standard deviations of the logarithm, estimated
    by the median absolute deviation (B. Iglewicz, D. Hoaglin, "How to detect and handle outliers", 1993), and more than
    6 times the median, or less than a sixth: few, and sure.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    size = np.log(np.maximum(np.sqrt(areas), 1e-6))
    # How long, whichever way it lies: tall and wide are no slip.
    length = np.log(sides.max(axis=1) / sides.min(axis=1))
    found: list[tuple[float, Outlier]] = []
    usable = whole & (areas > 0)
    for class_id in np.unique(classes[usable]).tolist():
        rows = np.flatnonzero(usable & (classes == class_id))
        if len(rows) < _FEWEST:
            continue
        for values, words in ((size, ("larger", "smaller")), (length, ("more elongated", ""))):
            found += _far(rows, values, words)
    once: dict[int, tuple[float, Outlier]] = {}
    for far, outlier in sorted(found, key=lambda row: -row[0]):
        once.setdefault(outlier.row, (far, outlier))
    return [outlier for _, outlier in once.values()]


def _far(rows: IntArray, values: FloatArray, words: Sequence[str]) -> list[tuple[float, Outlier]]:
    """Those of `rows` that are far above (the first word) or below (the second, unless empty) the median."""
    here = values[rows]
    median = float(np.median(here))
    spread = max(_SPREAD, _TO_DEVIATION * float(np.median(np.abs(here - median))))
    distance = (here - median) / spread
    far = (np.abs(distance) > _FAR) & (np.abs(here - median) > np.log(_TIMES))
    found = []
    for place in np.flatnonzero(far).tolist():
        word = words[0] if distance[place] > 0 else words[1]
        if word:
            times = float(np.exp(abs(here[place] - median)))
            found.append((abs(float(distance[place])), Outlier(int(rows[place]), f"{times:.0f} times {word}")))
    return found


def _pieces(crop: BoolArray, around: int = 8) -> int:
    return int(cv2.connectedComponents(crop.astype(np.uint8), connectivity=around)[0]) - 1


def _iou(box: FloatArray, others: FloatArray) -> FloatArray:
    """IoU [N] of an xyxy box with others [N, 4]; 0 where neither has an area."""
    shared = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(axis=1)
    united = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    found: FloatArray = np.divide(shared, united, out=np.zeros_like(shared), where=united > 0)
    return found
