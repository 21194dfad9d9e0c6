"""Student's interval, beside scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from everymask.metrics.student import mean_interval, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 31, 999])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_quantiles_are_scipys(freedom: int, level: float) -> None:
    """Asked of the tail beyond it: of that the oldest scipy allowed is sure, of the quantile it is not."""
    assert stats.t.sf(t_quantile(level, freedom), freedom) == pytest.approx((1 - level) / 2, rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_the_interval_of_a_mean_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).normal(0.6, 0.02, count)
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    mean, *interval = mean_interval(values.tolist())
    assert mean == pytest.approx(values.mean())
    assert interval == pytest.approx(expected)


def test_one_value_claims_nothing_and_none_is_refused() -> None:
    mean, low, high = mean_interval([0.4])
    assert mean == 0.4 and math.isnan(low) and math.isnan(high)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    assert mean_interval([0.25, 0.25, 0.25]) == (0.25, 0.25, 0.25)
