"""Panoptic quality of a data set, picture by picture.

Of each picture only its segments by class are kept, so memory does not grow with their size.
"""

from __future__ import annotations

import numpy as np

from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.panoptic.scores import (
    PanopticPictureScore,
    PanopticScores,
    per_class,
    quality_interval,
    summary_of,
)
from everymask.metrics.panoptic.tallies import Tallies, confusion_of, edge_pairs, pairs_of, stacked, tallies_of
from everymask.metrics.scores import scored_before


class PanopticMetric:
    """Collects predictions and truths picture by picture; `compute` may be called at any time, and again.

    Segments are matched as by panopticapi (see `everymask.metrics.panoptic.tallies`), and `labels.things` says which
    classes are things; with `boundary` the quality is that of boundaries. The scores do not depend on the order of the
    pictures, nor on which part of a split run saw them.
    """

    def __init__(self, labels: Labels, *, boundary: bool = False) -> None:
        self.labels = labels
        self.boundary = boundary
        self._confusion = np.zeros((len(labels) + 1, len(labels) + 1), np.int64)
        self._pictures: dict[str, Tallies] = {}

    def update(self, prediction: PanopticMap, truth: PanopticMap, sample: Sample) -> None:
        """Add one picture.

        `DataError` for a picture that was added before, maps that are not [H, W] or differ in size, numbers that no
        segment has, and classes that the labels do not have.
        """
        count = len(self.labels)
        for found, what in ((truth, "truth of"), (prediction, "prediction for")):
            for segment in found.segments:
                if not 0 <= segment.class_id < count:
                    raise DataError(
                        f"the {what} {sample.id!r} has class {segment.class_id}, but the labels have classes 0 to "
                        f"{count - 1}"
                    )
        if sample.id in self._pictures:
            raise scored_before(sample.id)
        pairs = pairs_of(prediction, truth, sample.id)
        tables = prediction.segments, truth.segments
        confusion = confusion_of(pairs, *tables, count)
        # What is predicted where there is no truth is neither right nor wrong.
        confusion[-1] = 0
        edges = edge_pairs(prediction, truth) if self.boundary else None
        self._pictures[sample.id] = tallies_of(pairs, *tables, count, edges)
        self._confusion += confusion

    def merge(self, other: PanopticMetric) -> None:
        """Add all pictures of another part of the same run; `ConfigError` unless it was set up alike."""
        for name in ("labels", "boundary"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(f"only metrics set up alike can be merged, but {name} is {mine} here, {theirs} there")
        for id_ in other._pictures:
            if id_ in self._pictures:
                raise scored_before(id_)
        self._pictures |= other._pictures
        self._confusion += other._confusion

    def compute(self) -> PanopticScores:
        """The scores of all pictures so far; NaN without any."""
        ids = sorted(self._pictures)
        tallies = stacked([self._pictures[id_] for id_ in ids], len(self.labels))
        total = tallies.total()
        things = np.array([k in self.labels.things for k in range(len(self.labels))], np.bool_)
        return PanopticScores(
            every=summary_of(total, np.ones_like(things)),
            things=summary_of(total, things),
            stuff=summary_of(total, ~things),
            interval=quality_interval(tallies),
            per_class=per_class(total, self.labels),
            confusion=self._confusion.copy(),
            pictures=tuple(PanopticPictureScore.of(id_, self._pictures[id_]) for id_ in ids),
            tallies=tallies,
            boundary=self.boundary,
        )
