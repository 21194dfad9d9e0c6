"""Pixels by class, from which every measure of overlap follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Pixels by class, int64 [..., K]: those of the class in both maps, in the truth, and in the prediction."""

    common: IntArray
    truth: IntArray
    found: IntArray

    @property
    def union(self) -> IntArray:
        """Pixels that are the class in truth or prediction."""
        pixels: IntArray = self.truth + self.found - self.common
        return pixels

    def iou(self) -> FloatArray:
        """Intersection over union (Jaccard); NaN where a class is in neither."""
        return _ratio(self.common, self.union)

    def dice(self) -> FloatArray:
        """2 intersection / (truth + prediction), the F1 score of the pixels; NaN where a class is in neither."""
        return _ratio(2 * self.common, self.truth + self.found)

    def accuracy(self) -> FloatArray:
        """The share of the truth that was found (recall); NaN where a class is not in the truth."""
        return _ratio(self.common, self.truth)

    def total(self) -> Areas:
        """The sums over pictures: [P, K] becomes [K]."""
        return Areas(self.common.sum(axis=0), self.truth.sum(axis=0), self.found.sum(axis=0))


def areas_of(confusion: IntArray) -> Areas:
    """The areas [K] of a confusion matrix [K + 1, K + 1] whose last row and column are void."""
    return Areas(confusion.diagonal()[:-1].copy(), confusion.sum(axis=1)[:-1], confusion.sum(axis=0)[:-1])


def stacked(parts: Sequence[Areas], count: int) -> Areas:
    """The areas [P, K] of P pictures of `count` classes."""
    empty = np.zeros((0, count), np.int64)
    columns = {name: [getattr(part, name)[None] for part in parts] for name in ("common", "truth", "found")}
    return Areas(**{name: np.concatenate([empty, *rows]) for name, rows in columns.items()})


def known_mean(values: FloatArray) -> FloatArray:
    """The mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))


def _ratio(part: Array, whole: Array) -> FloatArray:
    shares: FloatArray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return shares
