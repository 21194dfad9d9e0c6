"""`everymask train`: a model from annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands import options as shared
from everymask.commands.terminal import quoted, show
from everymask.commands.words import Swept
from everymask.core.threads import require_torch
from everymask.errors import counted
from everymask.models.specs.any_spec import Architecture
from everymask.settings.config import TrainConfig

if TYPE_CHECKING:
    from everymask.train.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(TrainConfig):
    """What decides a training, on the command line."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A folder or an annotation file; the format is recognised."""
    format: shared.Format | None = None
    """The format, where it is not to be recognised."""
    model: Architecture | None = None
    """The network; otherwise mask-rcnn finds objects, and unet learns from label maps. Its classes come from the
    data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Training):
    """Train a model on annotated pictures.

    What is not given is chosen from the data. Ctrl-C finishes the step, saves and reports. With `--seeds` or `--sweep`
    it is several trainings, one after the other; the same command again goes on where they stopped, and so does `train
    --resume OUT`.
    """

    seeds: int | None = None
    """Train with so many seeds, in OUT/seed-0 and so on, and say the mean score and its interval."""
    sweep: tuple[Swept, ...] = ()
    """Train with every combination of these values: --sweep lr=1e-3,3e-4 model=unet,pspnet. Values are written as the
    option's own, apart by commas (by semicolons where they have commas)."""


def config_of(options: Training) -> TrainConfig:
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
