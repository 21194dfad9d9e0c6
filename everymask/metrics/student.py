"""How well a mean is known from a few values that scatter: Student's t-interval (Student, 1908)."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.95
_MOST = 1e6


def mean_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float, float]:
    """The mean of values drawn independently and about normally, and its interval; NaN for fewer than two.

    The interval is mean ± t · s / √n, with the standard deviation s (n - 1) and t at n - 1 degrees of freedom.
    `ValueError` for no value at all.

    >>> mean, low, high = mean_interval([0.61, 0.64, 0.62])
    """
    count = len(values)
    if not count:
        raise ValueError("a mean needs at least one value")
    mean = math.fsum(values) / count
    if count == 1:
        return mean, math.nan, math.nan
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = t_quantile(level, count - 1) * deviation / math.sqrt(count)
    return mean, mean - half, mean + half


def t_quantile(level: float, freedom: int) -> float:
    """The t that |T| stays below with probability `level`, for a whole number of degrees of freedom from 1 on."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < level and high < _MOST:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """P(|T| <= t), a finite sum for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= square * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
