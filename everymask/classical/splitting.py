"""From where objects are to which object each pixel is part of: a watershed of the distance to their border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from everymask.classical.bases import check_least
from everymask.classical.grey import blurred, parts_of
from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, Segmentation, SemanticMap, expected
from everymask.errors import require

_BACKGROUND = ("background", "_background_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How the classes of a label map become objects: each has one place farthest from its border.

    Of the distance to the border, after a Gaussian of `sigma` pixels, a peak counts that is `h` pixels above the pass
    to the next one; what the watershed of the distance gives it is one object. Objects of fewer than `min_area` pixels
    are dropped, and of more than `max_detections` the least sure.
    """

    h: float = 0.75
    sigma: float = 1.5
    min_area: int = 20
    max_detections: int = 1000

    def __post_init__(self) -> None:
        check_least("split-h", self.h, 0)
        check_least("split-sigma", self.sigma, 0)
        check_least("min_area", self.min_area, 0)
        check_least("the number of detections", self.max_detections, 1)


def things_of(labels: Labels) -> Labels:
    """The classes of which there can be objects: all but the background, by its name."""
    kept = _things(labels)
    return Labels(tuple(labels.names[k] for k in kept), tuple(labels.colours[k] for k in kept))


def split_map(found: Segmentation, labels: Labels, splitting: Splitting) -> tuple[InstanceSet, float | None]:
    """The objects of a label map in the classes of `things_of(labels)`, the surest first.

    An object is as sure as its pixels are on average, where the map says so. Besides, the score of the least sure one
    where there are more than are given; else None.
    """
    found = expected(SemanticMap, found, "a picture to be split into objects")
    numbers = np.zeros(found.ids.shape, np.int32)
    classes: list[int] = []
    for place, class_id in enumerate(_things(labels)):
        mask = found.ids == class_id
        if mask.any():
            split = split_mask(mask, splitting)
            numbers[split > 0] = split[split > 0] + len(classes)
            classes.extend([place] * int(split.max()))
    objects = objects_of(numbers, np.array(classes, np.int64), found.scores, splitting.max_detections)
    cut = len(classes) > len(objects) and objects.scores is not None
    return objects, float(objects.scores[-1]) if cut and objects.scores is not None else None


def split_mask(mask: BoolArray, splitting: Splitting) -> IntArray:
    """The number, from 1, of the object that each pixel of a mask [H, W] is part of; 0 elsewhere."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return flood(mask, blurred(np.asarray(distance, np.float32), splitting.sigma), splitting.h, splitting.min_area)


def flood(mask: BoolArray, height: FloatArray, h: float, min_area: int) -> IntArray:
    """The parts of a mask that a watershed gives to the peaks of `height` that rise by `h` above the next pass.

    By scikit-image's `h_maxima` and `watershed`. A part of the mask without any such peak is one object.
    """
    morphology, segmentation = (require(f"skimage.{name}", "classical") for name in ("morphology", "segmentation"))
    peaks = morphology.h_maxima(height, h) if h > 0 else morphology.local_maxima(height)
    markers = parts_of((peaks > 0) & mask, 0)
    # A small part may lie so low that none of its peaks counts.
    whole = parts_of(mask, 0)
    marked = np.zeros(int(whole.max()) + 1, np.bool_)
    marked[whole[markers > 0]] = True
    alone = mask & ~marked[whole]
    markers = np.where(alone, whole + int(markers.max()), markers)
    numbers = segmentation.watershed(-height, markers, mask=mask)
    return numbered(numbers, min_area)


def numbered(numbers: IntArray, min_area: int) -> IntArray:
    """The same objects numbered from 1 without gaps, without those of fewer than `min_area` pixels."""
    counts = np.bincount(numbers.reshape(-1))
    kept = counts >= max(min_area, 1)
    kept[0] = False
    table = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    found: IntArray = table[numbers]
    return found


def objects_of(numbers: IntArray, class_ids: IntArray, scores: FloatArray | None, most: int) -> InstanceSet:
    """The objects 1 to N of a map [H, W], of classes [N], the surest `most` of them, and the surest first.

    Each is as sure as its pixels in `scores` [H, W] on average; without those all are 1, and the largest come first.
    """
    count = len(class_ids)
    areas = np.bincount(numbers.reshape(-1), minlength=count + 1)[1:]
    means = np.ones(count)
    if scores is not None:
        sums = np.bincount(numbers.reshape(-1), scores.reshape(-1), minlength=count + 1)[1:]
        means = np.clip(sums / np.maximum(areas, 1), 0, 1)
    order = np.lexsort((-areas, -means))[:most]
    masks = Masks.from_ids(numbers, order + 1)
    return InstanceSet(masks.boxes(), class_ids[order], means[order].astype(np.float32), masks)


def _things(labels: Labels) -> list[int]:
    return [k for k, name in enumerate(labels.names) if name.lower() not in _BACKGROUND]
