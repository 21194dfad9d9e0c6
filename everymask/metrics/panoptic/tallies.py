"""Which segments of two panoptic maps are the same, counted by class (Kirillov et al. 2019, "Panoptic segmentation").

Reference: panopticapi's `pq_compute`, to whose numbers these are equal. It looks at pairs of segments one by one; here
all pairs that share a pixel are columns of a few arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.segmentation import PanopticMap, Segment
from everymask.errors import DataError
from everymask.metrics.boundary import boundary_pixels, boundary_width

_MATCH_IOU = 0.5
_AT_ONCE = 1 << 15
_DENSE = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """Segments by class, [..., K]: `matched` pairs (TP) and the sum `iou` of theirs, true ones that were `missed` (FN),
    and predicted ones that were `invented` (FP).
    """

    iou: FloatArray
    matched: IntArray
    missed: IntArray
    invented: IntArray

    @property
    def truths(self) -> IntArray:
        """How many true segments there are, crowds aside."""
        segments: IntArray = self.matched + self.missed
        return segments

    @property
    def found(self) -> IntArray:
        """How many predicted segments count."""
        segments: IntArray = self.matched + self.invented
        return segments

    def quality(self) -> FloatArray:
        """PQ = IoU / (TP + FP / 2 + FN / 2); NaN of a class that neither truth nor prediction has."""
        return quality_of(self.iou, self.matched, self.missed + self.invented)

    def recognition(self) -> FloatArray:
        """RQ = TP / (TP + FP / 2 + FN / 2), the F1 score of the segments; NaN as PQ."""
        return quality_of(self.matched, self.matched, self.missed + self.invented)

    def segmentation(self) -> FloatArray:
        """SQ, the mean IoU of what was matched: 0 where nothing was, NaN as PQ."""
        judged = self.matched + self.missed + self.invented > 0
        found: FloatArray = np.where(judged, self.iou / np.maximum(self.matched, 1), np.nan)
        return found

    def total(self) -> Tallies:
        """The sums over pictures: [P, K] becomes [K]."""
        return Tallies(*(column.sum(axis=0) for column in (self.iou, self.matched, self.missed, self.invented)))


def quality_of(part: FloatArray | IntArray, matched: IntArray | FloatArray, wrong: IntArray | FloatArray) -> FloatArray:
    """`part` / (TP + (FP + FN) / 2), whose `wrong` are FP + FN; NaN where all are 0."""
    whole = matched + 0.5 * wrong
    found: FloatArray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return found


def stacked(parts: Sequence[Tallies], count: int) -> Tallies:
    """The tallies [P, K] of P pictures of `count` classes."""
    nothing = Tallies(np.zeros(count), *(np.zeros(count, np.int64) for _ in range(3)))
    columns = {
        name: np.stack([getattr(part, name) for part in (nothing, *parts)])[1:]
        for name in ("iou", "matched", "missed", "invented")
    }
    return Tallies(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Which segments of truth and prediction share pixels, and how many: three columns [N] int64.

    `true` and `found` are rows of the two tables of segments, counted from 1; 0 stands for no segment.
    """

    true: IntArray
    found: IntArray
    pixels: IntArray


def pairs_of(prediction: PanopticMap, truth: PanopticMap, where: str) -> Pairs:
    """The pairs of segments that share pixels, those with no segment at one side included.

    `DataError` for maps that are not [H, W] or differ in size, and for numbers that no segment has.
    """
    if prediction.ids.shape != truth.ids.shape or truth.ids.ndim != 2:
        raise DataError(
            f"truth and prediction of {where!r} must be panoptic maps [H, W] of one size, but they are "
            f"{list(truth.ids.shape)} and {list(prediction.ids.shape)}"
        )
    places, true, found = _runs(truth.ids.reshape(-1), prediction.ids.reshape(-1))
    lengths = np.diff(np.append(places, truth.ids.size))
    side = len(prediction.segments) + 1
    codes = _rows(truth, true, places, f"the truth of {where!r}") * side
    codes += _rows(prediction, found, places, f"the prediction for {where!r}")
    return _counted(codes, lengths, side)


def _runs(true: IntArray, found: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Where runs of pixels begin that are alike in two flat maps [N], since neighbours mostly are of one segment, and
    what these hold there.
    """
    places, values, others = [np.arange(min(1, true.size))], [true[:1]], [found[:1]]
    # As many at a time as stay in the processor's cache until they have been looked at.
    for first in range(1, true.size, _AT_ONCE):
        one, other = true[first - 1 : first + _AT_ONCE], found[first - 1 : first + _AT_ONCE]
        change = np.flatnonzero((one[1:] != one[:-1]) | (other[1:] != other[:-1])) + 1
        places.append(change + (first - 1))
        values.append(one[change])
        others.append(other[change])
    return np.concatenate(places), np.concatenate(values), np.concatenate(others)


def edge_pairs(prediction: PanopticMap, truth: PanopticMap) -> Pairs:
    """The same of the pixels of each segment that are near its border, as boundary IoU takes them (see
    `everymask.metrics.boundary`), for maps of which `pairs_of` has been asked.

    0 stands for the inside of any segment, and pixels without truth for one more segment behind those of the truth.
    """
    width, edges = boundary_width(truth.size), []
    for found in (truth, prediction):
        rows = found.looked_up(range(1, len(found.segments) + 1), 0)
        edges.append(np.where(boundary_pixels(rows, width), rows, 0).astype(np.int64))
        if found is truth:
            edges[0][rows == 0] = len(truth.segments) + 1
    side = len(prediction.segments) + 1
    codes = (edges[0] * side + edges[1]).reshape(-1)
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))[: codes.size]
    return _counted(codes[starts], np.diff(np.append(starts, codes.size)), side)


def tallies_of(
    pairs: Pairs,
    prediction: Sequence[Segment],
    truth: Sequence[Segment],
    num_classes: int,
    edges: Pairs | None = None,
) -> Tallies:
    """What was found of a picture, by class. With `edges` two segments overlap by the lesser of their IoU and their
    boundary IoU (boundary PQ, Cheng et al. 2021).

    - two segments of one class match where their IoU is above one half; the union leaves out the predicted pixels that
      have no truth. A crowd is never matched, and never missed
    - a predicted segment is not invented where more than half of it lies where there is no truth or in crowds of its
      class

    Segments without a pixel count nowhere.
    """
    true_class, found_class = _classes(truth), _classes(prediction)
    crowd = np.array([False, *(segment.crowd for segment in truth)], np.bool_)
    true_area = np.bincount(pairs.true, pairs.pixels, minlength=len(true_class))
    found_area = np.bincount(pairs.found, pairs.pixels, minlength=len(found_class))
    untold = _summed(pairs, pairs.true == 0, len(found_class))
    same = (pairs.true > 0) & (pairs.found > 0) & (true_class[pairs.true] == found_class[pairs.found])
    true, found, common = (column[same] for column in (pairs.true, pairs.found, pairs.pixels))
    overlap = common / (true_area[true] + found_area[found] - common - untold[found])
    if edges is not None:
        overlap = np.minimum(overlap, _edge_overlap(edges, true, found, len(true_class), len(found_class)))
    hit = (overlap > _MATCH_IOU) & ~crowd[true]
    missed = (true_area > 0) & ~crowd
    missed[true[hit]] = missed[0] = False
    in_crowds = _summed(pairs, same & crowd[pairs.true], len(found_class))
    invented = (found_area > 0) & (untold + in_crowds <= found_area / 2)
    invented[found[hit]] = invented[0] = False
    matched = true_class[true[hit]]
    return Tallies(
        np.bincount(matched, overlap[hit], minlength=num_classes).astype(np.float64),
        np.bincount(matched, minlength=num_classes),
        np.bincount(true_class[missed], minlength=num_classes),
        np.bincount(found_class[invented], minlength=num_classes),
    )


def confusion_of(pairs: Pairs, prediction: Sequence[Segment], truth: Sequence[Segment], num_classes: int) -> IntArray:
    """Pixels by class, [K + 1, K + 1] int64: rows are the truth, columns the prediction, the last of each no class."""
    true_class, found_class = _classes(truth), _classes(prediction)
    true_class[0] = found_class[0] = num_classes
    side = num_classes + 1
    cells = true_class[pairs.true] * side + found_class[pairs.found]
    counts = np.bincount(cells, pairs.pixels, minlength=side * side)
    return np.rint(counts).astype(np.int64).reshape(side, side)


def _edge_overlap(edges: Pairs, true: IntArray, found: IntArray, num_true: int, num_found: int) -> FloatArray:
    """The boundary IoU of each pair of rows of two tables, `true` [M] and `found` [M]."""
    codes, wanted = edges.true * num_found + edges.found, true * num_found + found
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    common = np.where(codes[place] == wanted, edges.pixels[place], 0)
    true_area = np.bincount(edges.true, edges.pixels, minlength=num_true)
    found_area = np.bincount(edges.found, edges.pixels, minlength=num_found)
    untold = _summed(edges, edges.true == num_true, num_found)
    overlap: FloatArray = common / np.maximum(true_area[true] + found_area[found] - common - untold[found], 1)
    return overlap


def _counted(codes: IntArray, lengths: IntArray, side: int) -> Pairs:
    """The pairs of rows true * `side` + found of so many pixels each, sorted."""
    if codes.max(initial=0) < max(_DENSE, codes.size):
        # So few pairs are possible that counting all is faster than sorting those that occur.
        counts = np.bincount(codes, lengths)
        known = np.flatnonzero(counts)
        pixels = np.rint(counts[known]).astype(np.int64)
    else:
        known, place = np.unique(codes, return_inverse=True)
        pixels = np.rint(np.bincount(place, lengths, minlength=len(known))).astype(np.int64)
    return Pairs(known // side, known % side, pixels)


def _classes(segments: Sequence[Segment]) -> IntArray:
    """The class of each row of the table, counted from 1; -1 for no segment."""
    return np.array([-1, *(segment.class_id for segment in segments)], np.int64)


def _summed(pairs: Pairs, chosen: BoolArray, count: int) -> FloatArray:
    """The pixels of the chosen pairs, by the rows of the prediction."""
    return np.bincount(pairs.found[chosen], pairs.pixels[chosen], minlength=count).astype(np.float64)


def _rows(found: PanopticMap, ids: IntArray, places: IntArray, what: str) -> IntArray:
    """The rows [N] of the segments of `ids` [N], which stand at `places` [N] of the map, counted from 1; 0 for 0."""
    numbers = np.array([0, *(segment.id for segment in found.segments)], np.int64)
    order = np.argsort(numbers, kind="stable")
    rows: IntArray = order[np.minimum(np.searchsorted(numbers[order], ids), len(numbers) - 1)]
    wrong = np.flatnonzero(numbers[rows] != ids)
    if wrong.size:
        y, x = divmod(int(places[wrong[0]]), found.ids.shape[1])
        raise DataError(f"{what} has segment {found.ids[y, x]} at x={x}, y={y}, which its table does not list")
    return rows
