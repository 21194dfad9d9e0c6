"""How sure a score is: pictures are drawn again and again from those that were scored (Efron 1979)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.randomness import rng
from everymask.metrics.areas import Areas, known_mean

_LEVEL = 95.0
_AT_ONCE = 1 << 22


def mean_iou_interval(areas: Areas, *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of mIoU over pictures, from their `areas` [P, K]; NaN for fewer than two pictures.

    It says how mIoU would vary with other pictures of the same kind, not with another training.
    """
    if len(areas.common) < 2:
        return math.nan, math.nan
    return interval(resampled_mean_iou(areas, resamples=resamples, seed=seed))


def resampled_mean_iou(areas: Areas, *, resamples: int, seed: int) -> FloatArray:
    """mIoU [R] of each resample of pictures with these `areas` [P, K]; the same seed draws the same pictures."""
    # Sums of whole numbers: exact in float64, and far faster there than in int64.
    common, union = areas.common.astype(np.float64), areas.union.astype(np.float64)
    return np.concatenate([_mean_iou(times @ common, times @ union) for times in draws(len(common), resamples, seed)])


def interval(values: FloatArray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the values that are not NaN; NaN without any."""
    known = values[np.isfinite(values)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.percentile(known, ((100 - _LEVEL) / 2, (100 + _LEVEL) / 2))
    return float(low), float(high)


def draws(count: int, resamples: int, seed: int, at_once: int | None = None) -> Iterator[FloatArray]:
    """How often each of `count` pictures is in a resample of as many: float64 [R, count], `at_once` of them at a time.

    The same seed draws the same pictures, however many there are at a time.
    """
    draw = rng(seed, "bootstrap")
    most = max(1, _AT_ONCE // count) if at_once is None else at_once
    for first in range(0, resamples, most):
        rows = min(most, resamples - first)
        chosen = draw.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def _mean_iou(common: FloatArray, union: FloatArray) -> FloatArray:
    return known_mean(np.divide(common, union, out=np.full(union.shape, np.nan), where=union > 0))
