"""`everymask train`: a model from annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands import options as shared
from everymask.commands.terminal import quoted, show
from everymask.commands.words import Swept
from everymask.errors import counted
from everymask.models.specs.any_spec import ModelName
from everymask.settings.config import TrainConfig

if TYPE_CHECKING:
    from everymask.train.folder.progress import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(TrainConfig):
    """What decides a training, on the command line."""

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A folder or an annotation file; the format is recognised."""
    format: shared.Format | None = None
    """The format, where it is not to be recognised."""
    model: ModelName | None = None
    """The network, or a method that learns without one (pixel-forest; otsu and other thresholds); otherwise mask-rcnn
    finds objects, and unet learns from label maps. Its classes come from the data."""
    set: tuple[shared.Setting, ...] = ()
    """Settings of a method without a network, which then are not learned: --set blur=1.5 trees=50."""


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
    given = {column.name: getattr(options, column.name) for column in fields(TrainConfig)}
    if options.set:
        given["model"] = shared.method_with(options.method, options.set)
    return TrainConfig(**given)


def run(options: Train) -> None:
    """Train, and say how good the model is and what to do next."""
    from everymask.train.entry import train

    ended = train(config_of(options))
    if ended.leads:
        say_result(ended)
    if ended.leads and ended.reason == "interrupted":
        show(f"go on with the same command and --resume --out {quoted(ended.folder)}")
    if ended.signal:
        # What the shell expects of a program that a signal ended, although everything was saved.
        raise SystemExit(128 + ended.signal)
    if ended.leads:
        show(f"\nnext: everymask predict {quoted(ended.folder)} PICTURES --out masks{_asked(ended.config)}")
        if ended.reason == "time limit":
            show("more time may teach more: the same command with --resume and a longer --time-limit goes on")


def _asked(config: TrainConfig) -> str:
    """What a network that answers prompts is asked, with a space before it."""
    from everymask.tasks.table import task_of

    assert not isinstance(config.model, str)
    return " --everything" if config.model is not None and task_of(config.model).interactive else ""


def say_result(ended: Run) -> None:
    """How a training ended, how good its best weights are, and where it lies."""
    from everymask.train.folder.logs import spent

    steps = f"{counted(ended.steps, 'step')} and " if ended.steps else ""
    show(f"training ended after {steps}{spent(ended.seconds)}: {ended.reason}")
    if ended.report is not None:
        show(ended.report.scores.sentence(counted(ended.report.pictures, "held-out picture")))
    show(f"report: {ended.folder / 'report.html'}")
