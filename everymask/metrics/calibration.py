"""Whether a model is as sure as it is right: the expected calibration error (Naeini et al. 2015, Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.scores import Headline, PictureScore, PrecisionRecall, Table, known

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

    brief: ClassVar[tuple[str, ...]] = ("ECE",)
    resamples = 0
    headline_name = "ECE"
    interval: ClassVar[tuple[float, float]] = (math.nan, math.nan)
    num_pictures = 0

    @property
    def headline(self) -> float:
        """ECE; lower is better here."""
        return self.expected_error

    def numbers(self) -> dict[str, float]:
        """ECE."""
        return known({"ECE": self.expected_error})

    def headlines(self) -> tuple[Headline, ...]:
        """ECE, and MCE as a note."""
        return (Headline("ECE", f"{self.expected_error:.3f}", f"MCE {self.largest_error:.3f}"),)

    def classes(self) -> None:
        """Classes are not told apart."""

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """None."""
        return ()

    def mistakes(self) -> None:
        """Which class was taken for which is not known."""

    def by_picture(self) -> tuple[PictureScore, ...]:
        """Pictures are not told apart."""
        return ()

    def tables(self) -> tuple[Table, ...]:
        """The bins that have any pixels."""
        bins, pixels = len(self.counts), max(int(self.counts.sum()), 1)
        rows = tuple(
            (
                f"{row / bins:.2f} to {(row + 1) / bins:.2f}",
                float(self.confidence[row]),
                float(self.accuracy[row]),
                f"{count:,}",
                f"{100 * count / pixels:.1f} %",
            )
            for row, count in enumerate(self.counts.tolist())
            if count
        )
        title = f"Calibration: ECE {self.expected_error:.3f}, MCE {self.largest_error:.3f}"
        return (Table(title, ("confidence", "mean", "accuracy", "pixels", "share"), rows),)

    def sentence(self, pictures: str) -> str:
        """ECE."""
        return f"ECE {self.expected_error:.3f} on {pictures}"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """`ConfigError`: pictures are not told apart."""
        raise ConfigError("calibration is not compared between models: pictures are not told apart")

    def check_comparable(self, other: Any) -> None:
        """`ConfigError`, as in `resampled`."""
        self.resampled(0, 0)

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
    """Collects how sure and how right the pixels of label maps were; memory holds only the bins and a part of a map.

    A pixel of confidence c falls into bin floor(c * bins), 1 into the last. Pixels without truth, or without a class,
    count nowhere.
    """

    def __init__(self, bins: int = 15) -> None:
        if bins < 1:
            raise ConfigError(f"calibration needs at least 1 bin, but got {bins}")
        self.bins = bins
        self._counts = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins)
        self._right = np.zeros(bins)

    def update(self, prediction: SemanticMap, truth: SemanticMap, sample: Sample) -> None:
        """Add a picture whose prediction has scores; `DataError` where it has none, and as in `add`."""
        if prediction.scores is None:
            raise DataError(f"the prediction for {sample.id!r} has no scores", hint="predict with them: with_scores()")
        known_pixels = (truth.ids != truth.ignore) & (prediction.ids != prediction.ignore)
        self.add(prediction.scores[known_pixels], (prediction.ids == truth.ids)[known_pixels])

    def add(self, confidence: Array, correct: BoolArray) -> None:
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
