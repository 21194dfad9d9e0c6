"""How well changes were found: four counts of pixels, three of objects, and what follows from them.

Of each picture only these counts are kept, and scores are of the counts of all pictures together: a picture without any
change has no F1 of its own, and a mean over pictures is another number than the one that papers report.
"""

from __future__ import annotations

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.labels import Labels
from everymask.core.rows import count_pairs
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.change.scores import ChangeScores, Counts
from everymask.metrics.change.semantic_scores import SemanticChangeScores
from everymask.metrics.semantic_scores import Void

_SAME_OBJECT = 0.5


class ChangeMetric:
    """Collects predictions and truths picture by picture; `compute` may be called at any time, and again.

    What changed are the pixels of any class but the first. Where truth and all predictions say what became of what, the
    scores are `SemanticChangeScores`. `void` says whether changes that are predicted on pixels
    without truth (`labels.ignore`) count nowhere ("ignored") or as errors ("wrong"). Objects of change are pieces of
    pixels that touch, also at corners; one is found where a predicted piece overlaps it with an IoU above 0.5, which
    only one can.
    """

    def __init__(self, labels: Labels, *, void: Void = "ignored") -> None:
        if void not in ("ignored", "wrong"):
            raise ConfigError(f"void must be ignored or wrong, but got {void!r}")
        self.labels = labels
        self.void: Void = void
        self._pictures: dict[str, IntArray] = {}
        self._confusions: dict[str, IntArray] = {}

    def update(self, prediction: ChangeMap, truth: ChangeMap, sample: Sample) -> None:
        """Add one picture; `DataError` for one that was added before, and for maps that differ in size."""
        if prediction.ids.shape != truth.ids.shape or truth.ids.ndim != 2:
            raise DataError(
                f"truth and prediction of {sample.id!r} must be change maps [H, W] of one size, but they are "
                f"{list(truth.ids.shape)} and {list(prediction.ids.shape)}"
            )
        if sample.id in self._pictures:
            raise _scored_before(sample.id)
        known = truth.ids != truth.ignore
        true = known & (truth.ids != 0)
        found = (prediction.ids != 0) & (prediction.ids != prediction.ignore)
        if self.void == "ignored":
            found &= known
        counted = known | found
        pixels = (true & found, ~true & found, true & ~found, counted & ~true & ~found)
        self._pictures[sample.id] = np.array([*map(np.count_nonzero, pixels), *_objects(true, found)], np.int64)
        if truth.was is not None and prediction.was is not None:
            count = len(self.labels)
            was = count_pairs((truth.was * true)[counted], (prediction.was * found)[counted], count)
            now = count_pairs((truth.ids * true)[counted], (prediction.ids * found)[counted], count)
            self._confusions[sample.id] = was + now

    def merge(self, other: ChangeMetric) -> None:
        """Add all pictures of another part of the same run; `ConfigError` unless it was set up alike."""
        for name in ("labels", "void"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(f"only metrics set up alike can be merged, but {name} is {mine} here, {theirs} there")
        for id_ in other._pictures:
            if id_ in self._pictures:
                raise _scored_before(id_)
        self._pictures |= other._pictures
        self._confusions |= other._confusions

    def compute(self) -> ChangeScores:
        """The scores of all pictures so far; NaN without any."""
        ids = sorted(self._pictures)
        rows = np.array([self._pictures[id_] for id_ in ids], np.int64).reshape(-1, len(Counts.names))
        scores = ChangeScores(tuple(ids), rows, (self.labels.names[0], _changed(self.labels)), self.void)
        if not ids or ids != sorted(self._confusions):
            return scores
        confusions = np.stack([self._confusions[id_] for id_ in ids])
        return SemanticChangeScores(scores.ids, rows, scores.names, self.void, self.labels.names, confusions)


def _changed(labels: Labels) -> str:
    """What is called that something changed."""
    return labels.names[1] if len(labels) == 2 else "changed"


def _objects(true: BoolArray, found: BoolArray) -> tuple[int, int, int]:
    """How many objects there are, how many were found, and how many of both are the same."""
    (most, one), (others, other) = (
        cv2.connectedComponents(np.ascontiguousarray(mask, np.uint8), connectivity=8) for mask in (true, found)
    )
    both = true & found
    pairs, common = np.unique(one[both].astype(np.int64) * others + other[both], return_counts=True)
    areas, found_areas = np.bincount(one.ravel(), minlength=most), np.bincount(other.ravel(), minlength=others)
    union = areas[pairs // others] + found_areas[pairs % others] - common
    return most - 1, others - 1, int(np.count_nonzero(common > _SAME_OBJECT * union))


def _scored_before(id_: str) -> DataError:
    return DataError(
        f"picture {id_!r} was scored before",
        hint="give each picture its own id, and each part of a split run its own pictures",
    )
