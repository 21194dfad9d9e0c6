"""`everymask prune`: a trained network with fewer channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from everymask.commands.options import Trained
from everymask.commands.terminal import quoted, show, show_json, speaking


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Take the channels out of a trained network that matter least, and train it on: a new run, smaller and faster.

    What it loses of the metric is measured on the pictures that validated the run, and too much is refused. U-Nets with
    ResNet or plain encoders can be pruned so far.
    """

    model: Annotated[Trained, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    out: str
    """The folder of the new run; must be new or empty."""
    ratio: float = 0.3
    """Which share of the channels of each layer goes; of the weights go about twice as many."""
    time_limit: str = "10m"
    """How long it is trained on (90s, 30m, 2h)."""
    data: str | None = None
    """The pictures that the run learned from, where they lie elsewhere now."""
    max_loss: float = 0.01
    """Refuse a network that loses more than this of the metric (mIoU; 0.01 is a point)."""
    overwrite: bool = False
    """Replace the run in OUT."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Prune) -> None:
    """Prune, train on, and say what it brought."""
    from everymask.core.threads import require_torch
    from everymask.errors import require

    require_torch()
    require("torch_pruning", "prune")
    from everymask.export.pruned_run import PruneConfig, PrunedRun, prune_run

    config = PruneConfig(
        source=options.model,
        out=options.out,
        ratio=options.ratio,
        time_limit=options.time_limit,
        data=options.data,
        max_loss=options.max_loss,
        overwrite=options.overwrite,
    )
    with speaking("pruning") as say:
        found = prune_run(config, say)
    if not isinstance(found, PrunedRun):
        show(f"training was interrupted; everymask train --resume --out {quoted(found.folder)} goes on")
        raise SystemExit(128 + found.signal if found.signal else 130)
    if options.json:
        show_json(found.to_json())
        return
    scores = found.compared
    judged = f"{scores.name} on {scores.num_pictures} pictures: {scores.first:.4f} before, {scores.second:.4f} after"
    show(
        f"{found.run.folder}: {found.before:,} parameters before, {found.after:,} after; {found.time:.2f} of the time\n"
        f"{judged}; {scores.verdict}"
    )
