"""What there is before the first step of a training: the data read, everything decided, the network built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from everymask.backends.devices import has_fast_bf16
from everymask.core.labels import Labels
from everymask.core.processes.rank import Rank
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import Ending
from everymask.data.fingerprint import Fingerprint, fingerprint
from everymask.data.identity.watch import watched
from everymask.errors import DataError, WeightsError, counted, printable
from everymask.models.base import Batch, Network
from everymask.models.checkpoint import read_model
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start
from everymask.settings.plan import Plan, plan_of
from everymask.tasks.choice import asked_task, settle_task, unseen_classes
from everymask.tasks.instance import has_masks
from everymask.tasks.task import Pipeline, Task
from everymask.train.folder.embeddings import keep_embeddings
from everymask.train.folder.given import Given, bring_back, read_decided, read_preprocess
from everymask.train.folder.layout import BEST
from everymask.train.layers import frozen_parameters, learning_parameters
from everymask.train.loader import Order, read_batches
from everymask.train.pictures import divided, gone_on_with, read_pictures, seen, validation
from everymask.train.semantic_losses import set_criterion
from everymask.train.start import Source, adapted_for, build_start, read_source

_OF_BOXES = "train a detector of boxes, such as --model faster-rcnn, rtmdet-tiny or yolox-nano"


@dataclass(frozen=True, slots=True)
class Beginning:
    """All that there is before anything is written."""

    task: Task[Any]
    plan: Plan
    measured: Fingerprint
    given: Given | None
    train: Dataset
    val: Dataset | None
    module: Network
    order: Order
    notes: tuple[str, ...]
    decided_anew: bool
    cure: str
    """What to do about pictures that change while the run learns from them."""

    @property
    def labels(self) -> Labels:
        """The classes that the network learns."""
        return self.task.known(self.train.labels)

    def watched(self, pictures: Dataset) -> Dataset:
        """The pictures, given only while they hold what they held at the beginning, where that is known."""
        return watched(pictures, self.given.seen, hint=self.cure) if self.given else pictures

    def batches(self, device: torch.device, first: int, last: int) -> Iterator[Batch]:
        """The batches of these optimizer steps."""
        plan, pictures = self.plan, self.watched(packed(self.train))
        feed = partial(self.task.feed, pictures, plan.preprocess, seed=plan.seed, size=plan.crop)
        pipeline: Pipeline = feed(augment=plan.augment)
        mixed = plan.augment.mixed_epochs(plan.epochs)
        if mixed < plan.epochs:
            pipeline = Ending(pipeline, feed(augment=replace(plan.augment, mosaic=0.0, mixup=0.0)), mixed)
        return read_batches(
            pipeline,
            self.order,
            first=first,
            last=last,
            workers=plan.workers,
            divisor=plan.preprocess.divisor,
            pin=device.type == "cuda",
            files=[record.image for record in self.train.records],
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known before anything is decided: the data, and the settings as far as these and named weights go.

    `given` is None where nothing is to be learned from the data, so that nobody need know whether they change.
    `network_open` says whether only the data and the machine choose the network.
    """

    config: TrainConfig
    task: Task[Any]
    given: Given | None
    train: Dataset
    val: Dataset | None
    measured: Fingerprint
    source: Source | None
    network_open: bool
    notes: tuple[str, ...]
    decided_anew: bool
    folder: Path
    device: torch.device
    rank: Rank

    def decided(self, config: TrainConfig, source: Source | None, notes: tuple[str, ...] = ()) -> Beginning:
        """Everything, by a recipe for what `config` leaves open, or as the run began; and the network, built anew."""
        train_set = self.train
        if config.resume:
            preprocess = read_preprocess(self.folder, train_set, self.measured)
            plan = plan_of(config, self.task.settings, self.measured, preprocess)
        else:
            facts = _facts(train_set.labels, self.device, source.start if source else None, self.rank.count)
            # Machines may differ; what is decided must not.
            plan = self.rank.agreed(self.task.recipe(config, self.measured, facts))
        module, beginning = build_start(plan.model, self.task.known(train_set.labels), source, plan.seed)
        set_criterion(module, plan.task_settings)
        adapted = adapted_for(module, plan)
        for phase in plan.phases:
            learning_parameters(module, phase.selection, frozen_parameters(module))
        kept = keep_embeddings(module, plan)
        order = Order(len(train_set), plan.batch, plan.accumulate, plan.seed, self.rank)
        said = self.notes if config.resume else (*self.notes, *plan.reasons, *notes, beginning, *adapted, *kept)
        return Beginning(
            self.task,
            plan,
            self.measured,
            self.given,
            train_set,
            self.val,
            module,
            order,
            said,
            self.decided_anew,
            bring_back(self.folder),
        )


def read_ground(
    given: TrainConfig,
    dataset: Dataset | None,
    folder: Path,
    device: torch.device,
    screen: Console,
    rank: Rank,
    *,
    learns: bool,
) -> Ground:
    """Read the data and the weights that are named; what cannot work is refused here.

    Who `learns` from the data, or goes on learning, has to know what all their files hold, and only who does.
    """
    config, again = read_decided(folder, given) if given.resume else (given, ())
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
    pictures = known.for_task(task.name, rule=config.rule)
    data, remarks = gone_on_with(pictures, folder, screen) if config.resume else (None, ())
    if data is None:
        pictures = divided(pictures, config)
        data = seen(pictures, screen) if learns else None
    pictures = data.pictures if data else pictures
    train_set, val_set = pictures.split("train"), validation(pictures)
    if (has_masks(model) or task.interactive) and train_set.boxes_only:
        raise DataError("the annotations are boxes without masks", hint=_OF_BOXES)
    unseen = unseen_classes(train_set, val_set)
    chosen = (task.network(gpu)[1],) if given.network is None is built else ()

    held = f"{len(val_set)} for validation" if val_set else "none for validation"
    classes = counted(len(train_set.labels), "class", "es")
    counts = f"{counted(len(train_set), 'picture')} for training, {held}, {classes}"
    maps = (train_set.coding.sentence(train_set.labels),) if train_set.coding else ()
    return Ground(
        config=config,
        task=task,
        given=data,
        train=train_set,
        val=val_set,
        measured=fingerprint(train_set, seed=config.seed),
        source=source,
        network_open=bool(chosen) and given.encoder is None,
        notes=(*again, *remarks) if config.resume else (counts, *left_out, *maps, *unseen, *chosen),
        decided_anew=bool(again),
        folder=folder,
        device=device,
        rank=rank,
    )


def check_alike(ground: Ground) -> None:
    """`DataError` where another process than the first reads other data than that."""
    assert ground.given is not None
    digest = ground.given.identity.digest
    if ground.rank.agreed(digest) != digest:
        raise DataError(
            "this process reads other data than the first one",
            hint=f"{printable(ground.config.data)} must hold the same files on every machine",
        )


def _check_best(file: Path) -> None:
    """Better than to train to the end and then not to know how good the best weights are."""
    try:
        read_model(file)
    except WeightsError as error:
        raise WeightsError(
            f"the best weights so far are damaged: {error.message}",
            hint=f"bring them back, or remove {printable(file)}: the weights at the end of the run are then kept",
        ) from error


def _facts(labels: Labels, device: torch.device, start: Start | None, processes: int) -> Facts:
    return Facts(
        num_classes=len(labels),
        things=tuple(sorted(labels.things)),
        gpu=device.type == "cuda",
        bf16=has_fast_bf16(device),
        threads=torch.get_num_threads(),
        start=start,
        processes=processes,
    )
