"""Average precision of other choices of the pictures that were scored, without matching their objects again.

A picture that is drawn twice counts as two with the same detections, as if both stood in the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.metrics.matching import RECALLS, Matches, Objects


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of D detections in P pictures at T IoU thresholds, surest first within each of K classes.

    `picture` and `class_ids` are [D]; `hit` and `wrong` [D, T] say which count as found and as invented (neither: the
    detection lies on a crowd); `truths` [P, K] how many objects there were to find.
    """

    picture: IntArray
    class_ids: IntArray
    hit: BoolArray
    wrong: BoolArray
    truths: IntArray


def outcomes_of(found: Objects, true: Objects, matches: Matches, num_pictures: int, num_classes: int) -> Outcomes:
    """The outcomes of matched detections, for objects of any size."""
    hit, wrong = matches.hit[:, :, 0], ~(matches.hit | matches.void)[:, :, 0]
    order = np.lexsort((matches.rank, found.picture, -found.scores, found.class_ids))
    order = order[(hit | wrong)[order].any(axis=1)]
    counts = ~true.crowd
    cells = true.picture[counts] * num_classes + true.class_ids[counts]
    truths = np.bincount(cells, minlength=num_pictures * num_classes).reshape(num_pictures, num_classes)
    return Outcomes(found.picture[order], found.class_ids[order], hit[order], wrong[order], truths)


def resampled_ap(outcomes: Outcomes, times: FloatArray) -> FloatArray:
    """AP over IoU 0.50 to 0.95 [R] where picture p is there `times[r, p]` times; NaN for a draw without objects.

    With every picture once it is COCO's AP (pycocotools, `COCOeval.accumulate`). Among equal scores the copies of one
    detection stand together.
    """
    truths = times @ outcomes.truths  # [R, K]
    total, classes = np.zeros(len(times)), (truths > 0).sum(axis=1)
    starts = np.searchsorted(outcomes.class_ids, np.arange(truths.shape[1] + 1))
    for class_id, (first, last) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        weights = times[:, outcomes.picture[first:last]]
        for threshold in range(outcomes.hit.shape[1]):
            total += _class_ap(
                weights,
                outcomes.hit[first:last, threshold],
                outcomes.wrong[first:last, threshold],
                truths[:, class_id],
            )
    thresholds = outcomes.hit.shape[1]
    mean: FloatArray = np.divide(total, classes * thresholds, out=np.full(len(times), np.nan), where=classes > 0)
    return mean


def _class_ap(weights: FloatArray, hit: BoolArray, wrong: BoolArray, truths: FloatArray) -> FloatArray:
    """AP [R] of one class at one threshold; `weights` [R, D] is how often each detection is there. 0 without truth."""
    if not hit.any():
        return np.zeros(len(weights))
    right = np.cumsum(weights[:, hit], axis=1)
    errors = np.cumsum(weights[:, hit | wrong] * wrong[hit | wrong], axis=1)[:, hit[hit | wrong]]
    precision = right / np.maximum(right + errors, np.spacing(1))
    np.maximum.accumulate(precision[:, ::-1], axis=1, out=precision[:, ::-1])
    share = np.divide(right, truths[:, None], out=np.zeros_like(right), where=truths[:, None] > 0)
    # How many of the levels of recall are reached with each hit; level 0 needs one.
    reached = np.where(right > 0, np.searchsorted(RECALLS, share, side="right"), 0)
    gained = np.diff(reached, axis=1, prepend=0)
    found: FloatArray = (precision * gained).sum(axis=1) / len(RECALLS)
    return np.where(truths > 0, found, 0.0)
