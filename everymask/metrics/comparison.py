"""Whether one model is better than another, or was only luckier with the pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everymask.metrics.bootstrap import interval
from everymask.metrics.scores import Scores


@dataclass(frozen=True, slots=True)
class Comparison:
    """The headline of two models (`name`: mIoU, mask AP ...) on the same pictures, and whether they differ.

    `difference` is the second less the first, `low` and `high` are its 95 % interval. `p_value` (two-sided) is how
    often the choice of the pictures alone would turn the difference round; where it is below 0.05 the interval does not
    contain 0.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    num_pictures: int
    name: str

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, and the name of what was compared."""
        return asdict(self)


def compare_scores(first: Scores, second: Scores, *, resamples: int | None = None, seed: int = 0) -> Comparison:
    """A paired bootstrap test: each of `resamples` draws takes the same pictures for both models.

    The p-value is twice the smaller share of resamples whose difference is not above, or not below 0, counting the
    difference 0 itself as one resample of each kind. What is raised `Scores.check_comparable` says: unless both were
    scored on the same pictures with the same truth, at least two, by the same rules.
    """
    first.check_comparable(second)
    count = first.resamples if resamples is None else resamples
    one, other = (scores.resampled(count, seed) for scores in (first, second))
    differences = (other - one)[np.isfinite(other - one)]
    low, high = interval(differences)
    smaller = min(int(np.count_nonzero(differences <= 0)), int(np.count_nonzero(differences >= 0)))
    return Comparison(
        first=first.headline,
        second=second.headline,
        difference=second.headline - first.headline,
        low=low,
        high=high,
        p_value=min(1.0, 2 * (smaller + 1) / (len(differences) + 1)),
        num_pictures=first.num_pictures,
        name=first.headline_name,
    )
