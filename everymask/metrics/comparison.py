"""Whether one model is better than another, or was only luckier with the pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everymask.errors import ConfigError, DataError, counted
from everymask.metrics.bootstrap import interval, resampled_mean_iou
from everymask.metrics.semantic import SemanticScores


@dataclass(frozen=True, slots=True)
class Comparison:
    """The mIoU of two models on the same pictures, and whether they differ.

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

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def compare_scores(
    first: SemanticScores, second: SemanticScores, *, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """A paired bootstrap test: each resample takes the same pictures for both models.

    The p-value is twice the smaller share of resamples whose difference is not above, or not below 0, counting the
    difference 0 itself as one resample of each kind. `DataError` unless both were scored on the same pictures with the
    same truth, at least two; `ConfigError` unless by the same rule for pixels without truth.
    """
    _check_alike(first, second)
    one, other = (resampled_mean_iou(scores.areas, resamples=resamples, seed=seed) for scores in (first, second))
    differences = (other - one)[np.isfinite(other - one)]
    low, high = interval(differences)
    smaller = min(int(np.count_nonzero(differences <= 0)), int(np.count_nonzero(differences >= 0)))
    return Comparison(
        first=first.mean_iou,
        second=second.mean_iou,
        difference=second.mean_iou - first.mean_iou,
        low=low,
        high=high,
        p_value=min(1.0, 2 * (smaller + 1) / (len(differences) + 1)),
        num_pictures=first.num_pictures,
    )


def _check_alike(first: SemanticScores, second: SemanticScores) -> None:
    if first.void != second.void:
        raise ConfigError(f"pixels without truth are {first.void} in the first scores, {second.void} in the second")
    ids, others = ({picture.id for picture in scores.pictures} for scores in (first, second))
    if ids != others:
        raise DataError(
            f"only scores on the same pictures can be compared, but {counted(len(ids ^ others), 'picture')} of "
            f"{len(ids | others):,} were scored by one model only",
            hint="choose pictures that neither model was trained on, as a data set or a split of their own",
        )
    truth, other = (dict(zip(scores.per_class, scores.areas.truth.T, strict=True)) for scores in (first, second))
    nothing = np.zeros(len(ids), np.int64)
    for name in truth | other:
        if not np.array_equal(truth.get(name, nothing), other.get(name, nothing)):
            raise DataError(f"the two models were scored against different truths of the class {name!r}")
    if len(ids) < 2:
        raise DataError(f"a comparison needs at least 2 pictures, but got {len(ids)}")
