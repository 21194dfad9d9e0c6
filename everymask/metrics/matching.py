"""COCO's matching of detections with true objects, for all pictures and all thresholds at once.

No threshold lies below an IoU of 0.5, so only the pairs that overlap that much are kept: a few numbers for each object
instead of its mask. Reference: pycocotools, `COCOeval.evaluateImg` and `COCOeval.accumulate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.masks import Masks

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
# From, to (both inclusive) in pixels: objects of any size, small, medium, large.
_AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Detections and true objects that overlap by an IoU of at least 0.5: their rows and `iou`, each [P].

    With a crowd, the IoU is the part of the detection that lies on it.
    """

    found: IntArray
    true: IntArray
    iou: FloatArray

    @classmethod
    def concatenate(cls, parts: Sequence[Pairs], num_found: Sequence[int], num_true: Sequence[int]) -> Pairs:
        """All pairs in one table of pictures with so many detections and true objects each."""
        picture = np.repeat(np.arange(len(parts)), [len(part.iou) for part in parts]).astype(np.int64)
        before = np.cumsum([(0, 0), *zip(num_found, num_true, strict=True)], axis=0)[picture]
        nothing = np.zeros(0, np.int64)
        return cls(
            np.concatenate([nothing, *(part.found for part in parts)]) + before[:, 0],
            np.concatenate([nothing, *(part.true for part in parts)]) + before[:, 1],
            np.concatenate([np.zeros(0), *(part.iou for part in parts)]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects of all pictures in one table, picture after picture; every column [N], `boxes` [N, 4] xyxy.

    `scores` are 0 for truth; `areas` are those of the masks, or of the boxes where these are compared.
    """

    picture: IntArray
    class_ids: IntArray
    scores: FloatArray
    boxes: FloatArray
    areas: FloatArray
    crowd: BoolArray

    def __len__(self) -> int:
        return len(self.picture)

    def outside(self) -> BoolArray:
        """Whether an object does not belong to a range of sizes, [N, A]."""
        return (self.areas[:, None] < _AREAS[:, 0]) | (self.areas[:, None] > _AREAS[:, 1])


def box_pairs(found: Objects, true: Objects) -> Pairs:
    """The pairs of boxes in all pictures."""
    first = np.searchsorted(true.picture, found.picture)
    truths = np.searchsorted(true.picture, found.picture, side="right") - first
    areas, true_areas = areas_of(found.boxes), areas_of(true.boxes)
    sides, true_sides = (np.ascontiguousarray(objects.boxes.T, np.float64) for objects in (found, true))
    pairs = []
    # All detections at the same time, each with the first true object of its picture, then with the second, ...
    for place in range(truths.max(initial=0)):
        row = np.flatnonzero(truths > place)
        column = first[row] + place
        wide, tall = np.maximum(_shared(sides[:, row], true_sides[:, column]), 0)
        common = wide * tall
        union = _union(common, areas[row], true_areas[column], true.crowd[column])
        pairs.append(_overlapping(row, column, common, union))
    return Pairs.concatenate(pairs, [0] * len(pairs), [0] * len(pairs))


def mask_pairs(found: Masks, true: Masks, areas: IntArray, true_areas: IntArray, crowd: BoolArray) -> Pairs:
    """The pairs of N and M masks of one picture, whose areas [N] and [M] are known; `crowd` [M]."""
    wide, tall = np.maximum(_shared(found.windows.T[:, :, None], true.windows.T[:, None]), 0)
    # Pixels are counted only where windows and areas allow the overlap.
    most = np.minimum(wide * tall, np.minimum(areas[:, None], true_areas))
    row, column = np.nonzero(_enough(most, _union(most, areas[:, None], true_areas, crowd)))
    common = _common_pixels(found, true, row, column)
    return _overlapping(row, column, common, _union(common, areas[row], true_areas[column], crowd[column]))


def areas_of(boxes: FloatArray) -> FloatArray:
    """Areas [N] float64 of boxes [N, 4] xyxy."""
    x1, y1, x2, y2 = boxes.T.astype(np.float64)
    areas: FloatArray = (x2 - x1) * (y2 - y1)
    return areas


def _shared(sides: Array, true_sides: Array) -> Array:
    """Width and height [2, ...] of what boxes share, not positive for nothing; `sides` [4, ...] are x1, y1, x2, y2."""
    shared: Array = np.minimum(sides[2:], true_sides[2:]) - np.maximum(sides[:2], true_sides[:2])
    return shared


def _common_pixels(found: Masks, true: Masks, row: IntArray, column: IntArray) -> IntArray:
    """Common pixels of each pair of masks, [P]; their windows overlap."""
    import cv2

    windows, true_windows = found.windows[row], true.windows[column]
    corners = np.maximum(windows[:, :2], true_windows[:, :2])
    shapes = (np.minimum(windows[:, 2:], true_windows[:, 2:]) - corners)[:, ::-1].tolist()
    starts, true_starts = _starts(found, row, corners), _starts(true, column, corners)
    strides, true_strides = _strides(windows), _strides(true_windows)
    bits, true_bits = found.bits.view(np.uint8), true.bits.view(np.uint8)
    counts = []
    for shape, start, stride, true_start, true_stride in zip(
        shapes, starts, strides, true_starts, true_strides, strict=True
    ):
        part = np.ndarray(shape, np.uint8, bits, start, stride)
        true_part = np.ndarray(shape, np.uint8, true_bits, true_start, true_stride)
        # The sum of the ones under the other mask: one pass, and no array in between.
        counts.append(cv2.norm(part, cv2.NORM_L1, true_part))
    return np.array(counts, np.int64)


def _starts(masks: Masks, rows: IntArray, corners: IntArray) -> list[int]:
    """Where in the bits the masks of `rows` [P] hold the pixels at `corners` [P, 2] xy."""
    windows = masks.windows[rows]
    x, y = (corners - windows[:, :2]).T
    starts: list[int] = (masks.starts[rows] + y * (windows[:, 2] - windows[:, 0]) + x).tolist()
    return starts


def _strides(windows: IntArray) -> list[tuple[int, int]]:
    return [(width, 1) for width in (windows[:, 2] - windows[:, 0]).tolist()]


def _union(common: Array, areas: Array, true_areas: Array, crowd: BoolArray) -> Array:
    union: Array = areas + true_areas - common
    return np.where(crowd, areas, union) if crowd.any() else union


def _enough(common: Array, union: Array) -> BoolArray:
    """Whether the IoU is at least 0.5."""
    enough: BoolArray = (2 * common >= union) & (common > 0)
    return enough


def _overlapping(found: IntArray, true: IntArray, common: Array, union: Array) -> Pairs:
    enough = _enough(common, union)
    return Pairs(found[enough], true[enough], common[enough] / union[enough])


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Who met whom, for D detections, T thresholds and A ranges of sizes.

    `rank` [D] is each detection's place by score in its picture (and class); `hit` [D, T, A]: it met a true object
    that counts; `void` [D, T, A]: it counts neither as a hit nor as an error.
    """

    rank: IntArray
    hit: BoolArray
    void: BoolArray


def match_by_class(found: Objects, true: Objects, pairs: Pairs, limit: int) -> Matches:
    """COCO's matching: in each picture and class, the `limit` surest detections choose in turn."""
    group = found.picture * (1 + max(found.class_ids.max(initial=0), 0)) + found.class_ids
    rank = ranks(group, found.scores)
    allowed = (found.class_ids[pairs.found] == true.class_ids[pairs.true]) & (rank[pairs.found] < limit)
    ignored = true.crowd[:, None] | true.outside()
    partner = partners(pairs, allowed, rank, true.crowd, ignored, IOU_THRESHOLDS)
    met = partner >= 0
    void = np.broadcast_to(found.outside()[:, None, :], met.shape).copy()
    void[met] = ignored[partner[met], np.nonzero(met)[2]]
    void |= (rank >= limit)[:, None, None]
    return Matches(rank, met & ~void, void)


def ranks(group: IntArray, scores: FloatArray) -> IntArray:
    """Each detection's place in its group, 0 for the highest score; of equal ones the first comes first."""
    order = np.lexsort((-scores, group))
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    rank = np.empty(len(order), np.int64)
    rank[order] = place
    return rank


def partners(
    pairs: Pairs, allowed: BoolArray, rank: IntArray, crowd: BoolArray, ignored: BoolArray, thresholds: FloatArray
) -> IntArray:
    """The row of the true object that each detection takes, or -1: [D, T, A].

    Detections of one rank choose at the same time: they belong to different groups, so none can want what another
    takes. Each takes the best overlap that is still free, one that is `ignored` [M, A] only if there is no other; of
    equal overlaps the last. A crowd is never used up. `allowed` [P] leaves pairs out.
    """
    shape = (len(thresholds), ignored.shape[1])
    taken = np.zeros((len(crowd), *shape), bool)
    partner = np.full((len(rank), *shape), -1, np.int32)
    found, true, iou = pairs.found[allowed], pairs.true[allowed], pairs.iou[allowed]
    order = np.lexsort((true, iou, found, rank[found]))
    found, true, iou = found[order], true[order], iou[order]
    rounds = np.flatnonzero(np.diff(rank[found], prepend=-1))
    for first, last in pairwise([*rounds.tolist(), len(found)]):
        row, column = found[first:last], true[first:last]
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        place = np.arange(1, len(row) + 1)
        free = (iou[first:last, None] >= thresholds)[:, :, None] & (crowd[column][:, None, None] | ~taken[column])
        # Within a detection the overlap grows with the place; what counts comes before what is ignored.
        worth = place[:, None, None] + len(row) * ~ignored[column][:, None, :]
        best = np.maximum.reduceat(np.where(free, worth, 0), starts, axis=0)
        detection, threshold, size = np.nonzero(best)
        chosen = column[(best[detection, threshold, size] - 1) % len(row)]
        taken[chosen, threshold, size] = True
        partner[row[starts][detection], threshold, size] = chosen
    return partner


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """`precision` [T, R, K, A] at the levels `RECALLS`, `recall` [T, K, A, M] at M limits of detections.

    By IoU threshold, class and size; -1 where there is no truth.
    """

    precision: FloatArray
    recall: FloatArray


def curves_of(found: Objects, true: Objects, matches: Matches, num_classes: int, limits: Sequence[int]) -> Curves:
    """Precision and recall with the detections of all pictures in the order of their scores."""
    order = np.lexsort((matches.rank, found.picture, -found.scores, found.class_ids))
    class_ids, rank = found.class_ids[order], matches.rank[order]
    starts = np.searchsorted(class_ids, np.arange(num_classes + 1))
    truths = _truths(true, num_classes)
    needed = _needed(truths)
    precision = np.full((len(IOU_THRESHOLDS), len(RECALLS), num_classes, len(_AREAS)), -1.0)
    recall = np.full((len(IOU_THRESHOLDS), num_classes, len(_AREAS), len(limits)), -1.0)
    # One row for each threshold and size, the detections of a class side by side.
    hits, errors = (
        np.ascontiguousarray(flags.transpose(1, 2, 0))[..., order]
        for flags in (matches.hit, ~(matches.hit | matches.void))
    )
    for threshold, size in np.ndindex(hits.shape[:2]):
        defined = truths[:, size] > 0
        hit = np.flatnonzero(hits[threshold, size])
        wrong = np.concatenate([[0], np.cumsum(errors[threshold, size])])
        ends = np.searchsorted(hit, starts)
        right = np.arange(1, len(hit) + 1) - ends[:-1][class_ids[hit]]
        wrong_before = wrong[hit] - wrong[starts[class_ids[hit]]]
        best = right / (right + wrong_before + np.spacing(1))
        for first, last in pairwise(ends.tolist()):
            np.maximum.accumulate(best[first:last][::-1], out=best[first:last][::-1])
        reached = needed[:, :, size] <= np.diff(ends)
        place = np.where(reached, ends[:-1] + needed[:, :, size] - 1, len(hit))
        precision[threshold, :, defined, size] = np.append(best, 0)[place].T[defined]
        for index, limit in enumerate(limits):
            number = np.bincount(class_ids[hit[rank[hit] < limit]], minlength=num_classes)
            recall[threshold, defined, size, index] = number[defined] / truths[defined, size]
    return Curves(precision, recall)


def _truths(true: Objects, num_classes: int) -> IntArray:
    """How many true objects of each class and size count, [K, A]."""
    counts = ~(true.crowd[:, None] | true.outside())
    return np.stack([np.bincount(true.class_ids[column], minlength=num_classes) for column in counts.T], axis=1)


def _needed(truths: IntArray) -> IntArray:
    """Hits, at least one, that reach each level of `RECALLS`: the smallest n with n / `truths` >= level, [R, ...]."""
    truths, levels = np.maximum(truths, 1), RECALLS.reshape(-1, *[1] * truths.ndim)
    below = np.floor(levels * truths)
    needed: IntArray = np.maximum(below + (below / truths < levels), 1).astype(np.int64)
    return needed
