"""How far a run is, and what it was when it ended. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from everymask.evaluate import Report
    from everymask.settings.config import TrainConfig

Reason = Literal["finished", "time limit", "no progress", "interrupted"]


@dataclass(slots=True)
class Progress:
    """How far a run is: `step` optimizer steps done in `seconds`.

    `best` is the best score so far, of `best_step`; `validated` is the last step whose weights were validated. `sums`
    are the losses since the last line of the log, over `summed` steps.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    validated: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A training that ended: its folder, why it ended, and how good its best weights are (None: not measured).

    `signal` is the number of the signal that stopped it (0: none). Of several processes one `leads`; only there is the
    report. `everymask.load(run.folder)` gives the model.
    """

    folder: Path
    reason: Reason
    report: Report | None
    config: TrainConfig = field(repr=False)
    steps: int
    seconds: float
    signal: int = 0
    leads: bool = True
