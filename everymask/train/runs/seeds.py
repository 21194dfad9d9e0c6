"""What several seeds of the same training say together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from everymask.metrics.student import mean_interval
from everymask.train.runs.row import RunRow

_SEED = "seed"


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """The best scores of finished runs that were asked for alike but for the seed, on the same data.

    `low` and `high` are the 95 % t-interval of the `mean` over seeds: NaN for one run, which says nothing of others.
    """

    runs: tuple[RunRow, ...]
    name: str
    mean: float
    low: float
    high: float


def over_seeds(rows: Sequence[RunRow]) -> list[OverSeeds]:
    """Groups of finished, scored runs that differ only by their seed, in the order of their first ones."""
    groups: dict[str, list[RunRow]] = {}
    for row in rows:
        if row.state == "finished" and row.score is not None:
            asked = {name: value for name, value in (row.asked or row.settings).items() if name != _SEED}
            key = json.dumps([asked, row.data, row.score.name], sort_keys=True)
            groups.setdefault(key, []).append(row)
    return [_together(group) for group in groups.values()]


def _together(group: list[RunRow]) -> OverSeeds:
    scores = [row.score for row in group if row.score is not None]
    return OverSeeds(tuple(group), scores[0].name, *mean_interval([score.value for score in scores]))
