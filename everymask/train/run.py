"""From a configuration to a run folder with a trained model, its scores and a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from everymask.data.dataset import Dataset, not_annotated
from everymask.data.feed.packed import packed
from everymask.data.fingerprint import Fingerprint, fingerprint
from everymask.data.splits import read_split
from everymask.errors import DataError, WeightsError, counted, printable
from everymask.evaluate import Report, evaluate
from everymask.infer.backends.pytorch import build_predictor, choose_device, has_fast_bf16
from everymask.infer.predictor import Predictor
from everymask.models.base import Batch, Network
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, read_model, save_model
from everymask.models.specs.regions import MaskRCNN
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.plan import Plan, plan_of
from everymask.tasks.choice import asked_task, settle_task, unseen_classes, usual_network
from everymask.tasks.task import Task
from everymask.train.folder.given import read_decided, read_preprocess, write_decided, write_given
from everymask.train.folder.layout import BEST, SPLITS, clear_folder, open_folder
from everymask.train.folder.logs import Log, Screen, memory
from everymask.train.folder.summary import write_summary
from everymask.train.layers import frozen_parameters, learning_parameters
from everymask.train.loader import Order, read_batches
from everymask.train.loop import Outcome, Reason, Validation, fit
from everymask.train.machine.failures import machine_failures
from everymask.train.machine.rank import ALONE, Rank
from everymask.train.pictures import divided, read_pictures, validation
from everymask.train.semantic_losses import set_criterion
from everymask.train.start import build_start, read_source, usual_source


@dataclass(frozen=True, slots=True)
class Run:
    """A training that ended: its folder, why it ended, and how good its best weights are (None: not measured).

    `signal` is the number of the signal that stopped it (0: none). `everymask.load(run.folder)` gives the model.
    """

    folder: Path
    reason: Reason
    report: Report | None
    config: TrainConfig = field(repr=False)
    steps: int
    seconds: float
    signal: int = 0


def train(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """`everymask.train`, where torch is imported already."""
    return train_as(ALONE, config, dataset=dataset, console=console)


def train_as(rank: Rank, config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """`train` as one of several processes, of which only the first writes, shows and evaluates."""
    device = choose_device(config.device)
    with (
        machine_failures(),
        open_folder(
            config.out, resume=config.resume, overwrite=config.overwrite, data=config.data, rank=rank
        ) as folder,
    ):
        screen = (console or Screen(stderr=True)) if rank.leads else Console(quiet=True)
        begun = _begin(config, dataset, folder, device, screen, rank)
        plan, train_set = begun.plan, begun.train
        if rank.leads and not config.resume:
            clear_folder(folder)
            write_given(folder, config, plan, begun.pictures, train_set, begun.measured)
        elif rank.leads and begun.longer:
            write_decided(folder, plan)
        card = Card(plan.model, train_set.labels, plan.preprocess, source=f"trained on {config.data}")
        judge = _Judge(folder, card, device, exact=not plan.bf16)
        with Log(folder, screen, rank=rank) as log:
            for note in begun.notes:
                log.note(note)
            outcome = fit(
                begun.module,
                begun.order,
                partial(_batches, begun, device),
                plan,
                folder=folder,
                device=device,
                log=log,
                validate=partial(judge.validate, begun.val) if begun.val else None,
                keep=judge.keep,
            )
        if rank.leads:
            _finish(folder, begun, outcome, judge)
        progress = outcome.progress
        return Run(folder, outcome.reason, judge.best, plan.settings, progress.step, progress.seconds, outcome.signal)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """All that there is before anything is written."""

    task: Task[Any]
    plan: Plan
    measured: Fingerprint
    pictures: Dataset
    train: Dataset
    val: Dataset | None
    module: Network
    order: Order
    notes: tuple[str, ...]
    longer: bool


def _begin(
    given: TrainConfig, dataset: Dataset | None, folder: Path, device: torch.device, screen: Console, rank: Rank
) -> _Beginning:
    """Read the data and the weights and decide everything; what cannot work is refused here."""
    config, longer = read_decided(folder, given) if given.resume else (given, ())
    if config.resume and (folder / BEST).exists():
        _check_best(folder / BEST)
    source = None if config.resume else read_source(config.weights)
    built, gpu = source.spec if source else None, device.type == "cuda"
    asked = asked_task(config, built)
    pictures = read_pictures(config, asked.name if asked else None, screen) if dataset is None else dataset
    task, model = settle_task(config, pictures, built, gpu=gpu)
    if source and source.foreign:
        model = source.foreign.network(model)
    config = replace(config, task=task.name, model=model, encoder=None, norm=None, head=None)
    known = pictures.annotated()
    left_out = (not_annotated(len(pictures) - len(known)),) if len(known) < len(pictures) else ()
    pictures = known.for_task(task.name)
    pictures = read_split(folder / SPLITS, pictures) if config.resume else divided(pictures, config)
    train_set, val_set = pictures.split("train"), validation(pictures)
    if isinstance(model, MaskRCNN) and train_set.boxes_only:
        raise DataError("the annotations are boxes without masks", hint="train a detector: --model faster-rcnn")
    unseen = unseen_classes(train_set, val_set)
    chosen = (usual_network(given, task, gpu)[1],) if given.network is None is built else ()

    measured = fingerprint(train_set, seed=config.seed)
    lost: tuple[str, ...] = ()
    if source is None and not config.resume:
        say = partial(screen.print, highlight=False, markup=False, emoji=False, soft_wrap=True)
        source, lost = usual_source(config.weights, model, measured.channels, say)
        config = replace(config, model=source.spec or model) if source else config
    if config.resume:
        plan = plan_of(config, task.settings, measured, read_preprocess(folder, train_set, measured))
    else:
        facts = _facts(len(train_set.labels), device, source.start if source else None)
        plan = task.recipe(config, measured, facts)
    module, beginning = build_start(plan.model, train_set.labels, source, plan.seed)
    set_criterion(module, plan.task_settings)
    for phase in plan.phases:
        learning_parameters(module, phase.selection, frozen_parameters(module))

    order = Order(len(train_set), plan.batch, plan.accumulate, plan.seed, rank)
    held = f"{len(val_set)} for validation" if val_set else "none for validation"
    classes = counted(len(train_set.labels), "class", "es")
    counts = f"{counted(len(train_set), 'picture')} for training, {held}, {classes}"
    maps = (train_set.coding.sentence(train_set.labels),) if train_set.coding else ()
    notes = longer if config.resume else (counts, *left_out, *maps, *unseen, *chosen, *plan.reasons, *lost, beginning)
    return _Beginning(task, plan, measured, pictures, train_set, val_set, module, order, notes, bool(longer))


def _check_best(file: Path) -> None:
    """Better than to train to the end and then not to know how good the best weights are."""
    try:
        read_model(file)
    except WeightsError as error:
        raise WeightsError(
            f"the best weights so far are damaged: {error.message}",
            hint=f"bring them back, or remove {printable(file)}: the weights at the end of the run are then kept",
        ) from error


def _finish(folder: Path, begun: _Beginning, outcome: Outcome, judge: _Judge) -> None:
    """Whatever ended the run, there are weights to predict with, and a report."""
    # Where nothing was validated, weights that lie there are those with which an earlier part of the run ended.
    if outcome.progress.best is None or not (folder / BEST).exists():
        save_model(folder / BEST, outcome.module, judge.card)
    predictor = None
    if outcome.reason != "interrupted" and begun.val:
        predictor = judge.predictor(*load_model(folder / BEST))
        judge.best = judge.best or evaluate(predictor, begun.val)
    write_summary(
        folder,
        begun.plan.settings,
        begun.train,
        begun.val,
        judge.best,
        predictor,
        outcome.reason,
        outcome.progress,
        memory(judge.device),
    )


@dataclass(slots=True)
class _Judge:
    """Validates weights, and keeps the best ones with their scores."""

    folder: Path
    card: Card
    device: torch.device
    exact: bool
    last: Report | None = None
    best: Report | None = None

    def predictor(self, module: Network, card: Card) -> Predictor:
        """Predicts in float32 where training does."""
        return build_predictor(module, card, str(self.device), precision="exact" if self.exact else "auto")

    def validate(self, pictures: Dataset, module: nn.Module) -> Validation:
        predictor = self.predictor(module, self.card)  # type: ignore[arg-type]
        self.last = evaluate(predictor, pictures, batch=8 if self.device.type == "cuda" else 1)
        return Validation(self.last.headline, self.last.numbers())

    def keep(self, module: nn.Module, result: Validation) -> None:
        self.best = self.last
        save_model(self.folder / BEST, module, replace(self.card, metrics=result.numbers))


def _facts(num_classes: int, device: torch.device, start: Start | None) -> Facts:
    return Facts(
        num_classes=num_classes,
        gpu=device.type == "cuda",
        bf16=has_fast_bf16(device),
        threads=torch.get_num_threads(),
        start=start,
    )


def _batches(begun: _Beginning, device: torch.device, first: int, last: int) -> Iterator[Batch]:
    plan = begun.plan
    pipeline = begun.task.feed(packed(begun.train), plan.preprocess, plan.augment, plan.seed, plan.crop)
    return read_batches(
        pipeline,
        begun.order,
        first=first,
        last=last,
        workers=plan.workers,
        divisor=plan.preprocess.divisor,
        pin=device.type == "cuda",
        files=[record.image for record in begun.train.records],
    )
