"""Whether one model is better than another, or was only luckier with the pictures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everymask.metrics.bootstrap import interval
from everymask.metrics.scores import Scores

LEVEL = 0.05
"""A difference is called real where its p-value is below."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The headline of two models (`name`: mIoU, mask AP ...) on the same pictures, and whether they differ.

    `difference` is the second less the first, `low` and `high` are its 95 % interval. `p_value` (two-sided) is how
    often the choice of the pictures alone would turn the difference round; where it is below 0.05 the interval does not
    contain 0.

    `smallest_p` is the least that any paired test of so many pictures can give: even if one model is better in all n of
    them, chance would make it so, or the other way round, 2 times in 2 ** n (Fisher 1935, the sign test). No smaller
    p-value is claimed, and no interval (NaN) where it is not below 0.05, which takes 6 pictures.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    num_pictures: int
    name: str
    smallest_p: float = 0.0

    @property
    def verdict(self) -> str:
        """What the p-value says, in words."""
        if self.smallest_p >= LEVEL:
            least = f"{self.smallest_p:.4f} is the smallest p that {self.num_pictures} pictures can give"
            return f"the difference may be chance; {least}, so that they cannot show one"
        return "the difference is real" if self.p_value < LEVEL else "the difference may be chance"

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, None for an interval that is not defined, and the name of what was compared."""
        bounds = (None if math.isnan(bound) else bound for bound in (self.low, self.high))
        return asdict(self) | dict(zip(("low", "high"), bounds, strict=True))


def compare_scores(first: Scores, second: Scores, *, resamples: int | None = None, seed: int = 0) -> Comparison:
    """A paired bootstrap test: each of `resamples` draws takes the same pictures for both models.

    The p-value is twice the smaller share of resamples whose difference is not above, or not below 0, counting the
    difference 0 itself as one resample of each kind, and never below what so many pictures can show. What is raised
    `Scores.check_comparable` says: unless both were scored on the same pictures with the same truth, at least two, by
    the same rules.
    """
    first.check_comparable(second)
    count = first.resamples if resamples is None else resamples
    one, other = (scores.resampled(count, seed) for scores in (first, second))
    differences = (other - one)[np.isfinite(other - one)]
    smallest = _smallest_p(first, second)
    low, high = interval(differences) if smallest < LEVEL else (math.nan, math.nan)
    smaller = min(int(np.count_nonzero(differences <= 0)), int(np.count_nonzero(differences >= 0)))
    return Comparison(
        first=first.headline,
        second=second.headline,
        difference=second.headline - first.headline,
        low=low,
        high=high,
        p_value=min(1.0, max(smallest, 2 * (smaller + 1) / (len(differences) + 1))),
        num_pictures=first.num_pictures,
        name=first.headline_name,
        smallest_p=smallest,
    )


def _smallest_p(first: Scores, second: Scores) -> float:
    """That of a sign test of the pictures in which there is something to judge."""
    pairs = zip(first.by_picture(), second.by_picture(), strict=True)
    judged = sum(not (math.isnan(one.score) and math.isnan(other.score)) for one, other in pairs)
    return float(min(1.0, 2.0 ** (1 - judged)))
