"""How well label maps agree: one confusion matrix of pixels, and what follows from it.

Of each picture only its pixels by class are kept (truth, prediction, both), so memory does not grow with their size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.areas import Areas, areas_of, known_mean, stacked
from everymask.metrics.bootstrap import mean_iou_interval
from everymask.metrics.boundary import boundary_pixels, boundary_width
from everymask.metrics.scores import scored_before
from everymask.metrics.semantic_scores import SemanticClassScore, SemanticPictureScore, SemanticScores, Void

_AT_ONCE = 1 << 18


class SemanticMetric:
    """Collects predictions and truths picture by picture; `compute` may be called at any time, and again.

    `void` says whether predictions on pixels without truth (`labels.ignore`) count: "ignored" (Cityscapes' rule) counts
    them nowhere, "wrong" as errors of the predicted class. A prediction may say `labels.ignore` too, for none of the
    classes: then the pixel is missed. The scores do not depend on the order of the pictures, nor on which part of a
    split run saw them.
    """

    def __init__(self, labels: Labels, *, void: Void = "ignored") -> None:
        if void not in ("ignored", "wrong"):
            raise ConfigError(f"void must be ignored or wrong, but got {void!r}")
        self.labels = labels
        self.void: Void = void
        self._confusion = np.zeros((len(labels) + 1, len(labels) + 1), np.int64)
        self._pictures: dict[str, _Picture] = {}

    def update(self, prediction: SemanticMap, truth: SemanticMap, sample: Sample) -> None:
        """Add one picture.

        `DataError` for a picture that was added before, maps that are not [H, W] or differ in size, and ids that are
        neither a class nor `labels.ignore`.
        """
        if prediction.ids.shape != truth.ids.shape or truth.ids.ndim != 2:
            raise DataError(
                f"truth and prediction of {sample.id!r} must be label maps [H, W] of one size, but they are "
                f"{list(truth.ids.shape)} and {list(prediction.ids.shape)}"
            )
        true = self._rows(truth.ids, f"the truth of {sample.id!r}")
        found = self._rows(prediction.ids, f"the prediction for {sample.id!r}")
        if sample.id in self._pictures:
            raise scored_before(sample.id)
        void = len(self.labels)
        if self.void == "ignored":
            # Then classes also end there in both maps, which is what boundaries are taken from.
            found = np.where(true == void, true, found)
        confusion = _confusion(true, found, void + 1)
        confusion[void, void] = 0
        width = boundary_width((truth.ids.shape[0], truth.ids.shape[1]))
        edges = [np.where(boundary_pixels(plane, width), plane, plane.dtype.type(void)) for plane in (true, found)]
        boundary = _confusion(edges[0], edges[1], void + 1)
        self._confusion += confusion
        self._pictures[sample.id] = _Picture(areas_of(confusion), areas_of(boundary), int(confusion.sum()))

    def merge(self, other: SemanticMetric) -> None:
        """Add all pictures of another part of the same run; `ConfigError` unless it was set up alike."""
        for name in ("labels", "void"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(f"only metrics set up alike can be merged, but {name} is {mine} here, {theirs} there")
        for id_ in other._pictures:
            if id_ in self._pictures:
                raise scored_before(id_)
        self._pictures |= other._pictures
        self._confusion += other._confusion

    def compute(self) -> SemanticScores:
        """The scores of all pictures so far; NaN without any."""
        ids = sorted(self._pictures)
        pictures = [self._pictures[id_] for id_ in ids]
        areas = stacked([picture.areas for picture in pictures], len(self.labels))
        total = areas.total()
        boundary = stacked([picture.boundary for picture in pictures], len(self.labels)).total().iou()
        iou, dice, accuracy = total.iou(), total.dice(), total.accuracy()
        return SemanticScores(
            mean_iou=float(known_mean(iou)),
            interval=mean_iou_interval(areas),
            mean_dice=float(known_mean(dice)),
            mean_accuracy=float(known_mean(accuracy)),
            mean_boundary_iou=float(known_mean(boundary)),
            frequency_weighted_iou=_share(np.nansum(total.truth * iou), total.truth.sum()),
            pixel_accuracy=_share(total.common.sum(), sum(picture.num_pixels for picture in pictures)),
            per_class={
                name: SemanticClassScore(
                    iou=float(iou[k]),
                    dice=float(dice[k]),
                    accuracy=float(accuracy[k]),
                    boundary_iou=float(boundary[k]),
                    num_truth=int(total.truth[k]),
                    num_found=int(total.found[k]),
                )
                for k, name in enumerate(self.labels.names)
            },
            confusion=self._confusion.copy(),
            pictures=tuple(map(_picture_score, ids, pictures)),
            areas=areas,
            void=self.void,
        )

    def _rows(self, ids: IntArray, what: str) -> IntArray:
        """The map with void as the number of classes: uint8 where that is enough."""
        count, ignore = len(self.labels), self.labels.ignore
        void = ids == ignore
        wrong = (ids >= count) & ~void
        if ids.dtype.kind == "i":
            wrong |= (ids < 0) & ~void
        if wrong.any():
            y, x = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            raise DataError(
                f"{what} has {ids[y, x]} at x={x}, y={y} ({np.count_nonzero(wrong):,} such pixels), but the "
                f"classes are 0 to {count - 1}, and {ignore} is void"
            )
        rows: IntArray = np.where(void, count, ids).astype(np.uint8 if count < 256 else np.uint16)
        return rows


@dataclass(frozen=True, slots=True)
class _Picture:
    """What is kept of a picture: areas [K], those of its boundaries, and how many pixels count."""

    areas: Areas
    boundary: Areas
    num_pixels: int


def _confusion(true: IntArray, found: IntArray, side: int) -> IntArray:
    """How often each pair of numbers below `side` occurs, [side, side]; in parts, since counting needs 8 bytes each."""
    counts = np.zeros(side * side, np.int64)
    flat, other = true.reshape(-1), found.reshape(-1)
    for first in range(0, flat.size, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        pairs = flat[part].astype(np.intp)
        pairs *= side
        pairs += other[part]
        counts += np.bincount(pairs, minlength=side * side)
    return counts.reshape(side, side)


def _picture_score(id_: str, picture: _Picture) -> SemanticPictureScore:
    areas = picture.areas
    return SemanticPictureScore(
        id=id_,
        mean_iou=float(known_mean(areas.iou())) if areas.truth.any() else math.nan,
        pixel_accuracy=_share(areas.common.sum(), picture.num_pixels) if areas.truth.any() else math.nan,
    )


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole > 0 else math.nan
