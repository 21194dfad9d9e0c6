"""Whether a model is as sure as it is right: the expected calibration error (Naeini et al. 2015, Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.errors import ConfigError, DataError

_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationScores:
    """By bins of equal width over 0-1: mean `confidence`, share of right answers `accuracy` (NaN: empty) and `counts`.

    `expected_error` (ECE) is the mean distance of the two, weighted by `counts`; `largest_error` (MCE) the largest.
    Both are NaN without any answer.
    """

    confidence: FloatArray
    accuracy: FloatArray
    counts: IntArray
    expected_error: float
    largest_error: float

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; None for NaN."""
        return {
            "expected_error": None if np.isnan(self.expected_error) else self.expected_error,
            "largest_error": None if np.isnan(self.largest_error) else self.largest_error,
            "counts": self.counts.tolist(),
            **{
                name: [None if np.isnan(value) else value for value in getattr(self, name).tolist()]
                for name in ("confidence", "accuracy")
            },
        }


class CalibrationMetric:
    """Collects how sure and how right answers were; memory holds only the bins and a part of what is added.

    An answer of confidence c falls into bin floor(c * bins), 1 into the last.
    """

    def __init__(self, bins: int = 15) -> None:
        if bins < 1:
            raise ConfigError(f"calibration needs at least 1 bin, but got {bins}")
        self.bins = bins
        self._counts = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins)
        self._right = np.zeros(bins)

    def update(self, confidence: Array, correct: BoolArray) -> None:
        """Add answers: `confidence` is the probability of the class that was chosen, `correct` whether it is right.

        Both have the same shape; leave out pixels without truth. `DataError` for other shapes and for confidences
        outside 0-1.
        """
        if confidence.shape != correct.shape:
            raise DataError(
                f"confidence and correctness must have one shape, but got {list(confidence.shape)} and "
                f"{list(correct.shape)}"
            )
        if confidence.size and not (confidence.min() >= 0 and confidence.max() <= 1):
            raise DataError(
                f"confidence must lie in 0 to 1, but reaches from {confidence.min():g} to {confidence.max():g}",
                hint="give probabilities, not logits",
            )
        flat, right = confidence.reshape(-1), correct.reshape(-1)
        for first in range(0, flat.size, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            sure = flat[part].astype(np.float64)
            rows = np.minimum((sure * self.bins).astype(np.intp), self.bins - 1)
            self._counts += np.bincount(rows, minlength=self.bins)
            self._confidence += np.bincount(rows, sure, minlength=self.bins)
            self._right += np.bincount(rows, right[part], minlength=self.bins)

    def merge(self, other: CalibrationMetric) -> None:
        """Add the answers of another part of the same run; `ConfigError` unless it has as many bins."""
        if other.bins != self.bins:
            raise ConfigError(
                f"only metrics set up alike can be merged, but one has {self.bins} bins, one {other.bins}"
            )
        self._counts += other._counts
        self._confidence += other._confidence
        self._right += other._right

    def compute(self) -> CalibrationScores:
        """The scores of all answers so far."""
        some = self._counts > 0
        confidence, accuracy = (
            np.divide(sums, self._counts, out=np.full(self.bins, np.nan), where=some)
            for sums in (self._confidence, self._right)
        )
        gaps = np.abs(confidence - accuracy)[some]
        weights = self._counts[some] / max(1, self._counts.sum())
        return CalibrationScores(
            confidence=confidence,
            accuracy=accuracy,
            counts=self._counts.copy(),
            expected_error=float(gaps @ weights) if some.any() else float("nan"),
            largest_error=float(gaps.max()) if some.any() else float("nan"),
        )
