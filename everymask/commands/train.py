"""`everymask train`: a model from annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands import options as shared
from everymask.commands.terminal import quoted, show
from everymask.core.threads import require_torch
from everymask.errors import counted
from everymask.models.specs.any_spec import Architecture
from everymask.settings.config import TrainConfig

if TYPE_CHECKING:
    from everymask.train.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(TrainConfig):
    """Train a model on annotated pictures.

    What is not given is chosen from the data. Ctrl-C finishes the step, saves and reports.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A folder or an annotation file; the format is recognised."""
    format: shared.Format | None = None
    """The format, where it is not to be recognised."""
    model: Architecture | None = None
    """The network; otherwise mask-rcnn finds objects, and unet learns from label maps. Its classes come from the
    data."""


def config_of(options: Train) -> TrainConfig:
    """The settings among the options."""
    return TrainConfig(**{column.name: getattr(options, column.name) for column in fields(TrainConfig)})


def run(options: Train) -> None:
    """Train, and say how good the model is and what to do next."""
    require_torch()
    from everymask.train.run import train

    ended = train(config_of(options))
    if ended.leads:
        say_result(ended)
    if ended.leads and ended.reason == "interrupted":
        show(f"go on with the same command and --resume --out {quoted(ended.folder)}")
    if ended.signal:
        # What the shell expects of a program that a signal ended, although everything was saved.
        raise SystemExit(128 + ended.signal)
    if ended.leads:
        show(f"\nnext: everymask predict {quoted(ended.folder)} PICTURES --out masks")


def say_result(ended: Run) -> None:
    """How a training ended, how good its best weights are, and where it lies."""
    from everymask.train.folder.logs import spent

    show(f"training ended after {counted(ended.steps, 'step')} and {spent(ended.seconds)}: {ended.reason}")
    if ended.report is not None:
        show(ended.report.scores.sentence(counted(ended.report.pictures, "held-out picture")))
    show(f"report: {ended.folder / 'report.html'}")
