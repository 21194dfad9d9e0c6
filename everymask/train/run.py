"""From a configuration to a run folder with a trained model, its scores and a report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from everymask.core.files import write_json
from everymask.core.labels import Labels
from everymask.core.segmentation import Task
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import InstancePipeline
from everymask.data.feed.preprocess import Preprocess
from everymask.data.feed.semantic_pipelines import SemanticPipeline
from everymask.data.fingerprint import Fingerprint, fingerprint
from everymask.data.formats.table import read_dataset
from everymask.data.splits import draw_split, read_split, write_split
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.evaluate import Report, evaluate
from everymask.infer.predictor import Predictor, build_predictor, choose_device, has_fast_bf16
from everymask.models.base import Batch
from everymask.models.checkpoint import Card, load_model, save_model
from everymask.models.regions.rcnn import RCNN
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import Head
from everymask.settings.config import TrainConfig, chosen, config_from_json, continued
from everymask.settings.recipes import Recipe, resolve
from everymask.settings.schedule import layer_phases
from everymask.settings.semantic_recipes import class_weights, resolve_semantic
from everymask.train.failures import machine_failures
from everymask.train.folder.layout import BEST, CONFIG, ORIGIN, SPLITS, clear_folder, open_folder
from everymask.train.folder.logs import Log, Screen, reading_bar
from everymask.train.folder.summary import write_summary
from everymask.train.layers import frozen_parameters, learning_parameters
from everymask.train.loader import Order, read_batches
from everymask.train.loop import Outcome, Reason, Validation, fit
from everymask.train.semantic_losses import LossSum, build_loss
from everymask.train.start import Source, build_start, read_source
from everymask.train.task import asked_task, settle_task, unseen_classes

_VALIDATION = ("val", "valid", "validation")


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
    """Train a model and leave a run folder: settings, log, best weights, state, splits, report.

    `dataset` replaces reading `config.data`. Progress goes to `console` (default: stderr). The same configuration gives
    the same numbers on the same machine with the same number of threads.

    Raises `ConfigError`, `DataError`, `WeightsError` and `MachineError` before the first step where something cannot
    work (a picture whose data are cut off is met in the first epoch, unless `on_defect` is "skip"), and `TrainingError`
    when the loss is no longer a number.

    >>> run = train(TrainConfig(data="cells/", out="runs/cells", epochs=20))
    """
    device = choose_device(config.device)
    with (
        machine_failures(),
        open_folder(config.out, resume=config.resume, overwrite=config.overwrite, data=config.data) as folder,
    ):
        screen = console or Screen(stderr=True)
        plan = _plan(config, dataset, folder, device, screen)
        config, train_set = plan.recipe.config, plan.train
        if not config.resume:
            clear_folder(folder)
            _write_settings(folder, plan)
        elif plan.longer:
            _write_config(folder, config)
        card = Card(config.network, train_set.labels, plan.recipe.preprocess, source=f"trained on {plan.given.data}")
        judge = _Judge(folder, card, plan.val, device, exact=config.precision == "fp32")
        with Log(folder, screen) as log:
            for note in plan.notes:
                log.note(note)
            outcome = fit(
                plan.module,
                plan.order,
                partial(_batches, plan, device),
                config,
                folder=folder,
                device=device,
                log=log,
                validate=judge.validate if plan.val else None,
                keep=judge.keep,
            )
        return _finish(folder, config, outcome, judge, train_set)


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that is decided before anything is written."""

    given: TrainConfig
    recipe: Recipe
    measured: Fingerprint
    pictures: Dataset
    train: Dataset
    val: Dataset | None
    module: RCNN | SemanticModel
    order: Order
    notes: tuple[str, ...]
    longer: bool = False


def _plan(given: TrainConfig, dataset: Dataset | None, folder: Path, device: torch.device, screen: Console) -> _Plan:
    """Read the data and the weights and settle everything; what cannot work is refused here."""
    config = given
    longer: tuple[str, ...] = ()
    if given.resume:
        stored = _read_config(folder / CONFIG)
        config = continued(stored, _read_config(folder / ORIGIN), given)
        if config.epochs != stored.epochs:
            longer = (f"{config.epochs} epochs instead of {stored.epochs}: the learning rate follows the new end",)
    source = None if config.resume else read_source(config.weights)
    built = source.spec if source else None
    pictures = _read(config, asked_task(config, built), screen) if dataset is None else dataset
    config = settle_task(config, pictures, built)
    if source and source.foreign:
        config = replace(config, model=source.foreign.network(config.network))
    known = pictures.annotated()
    left_out = (not_annotated(len(pictures) - len(known)),) if len(known) < len(pictures) else ()
    pictures = known.for_task(config.task)
    pictures = read_split(folder / SPLITS, pictures) if config.resume else _divided(pictures, config)
    val_name = next((name for name in _VALIDATION if name in pictures.splits()), None)
    train_set, val_set = pictures.split("train"), pictures.split(val_name) if val_name else None
    if isinstance(config.model, MaskRCNN) and train_set.boxes_only:
        raise DataError("the annotations are boxes without masks", hint="train a detector: --model faster-rcnn")
    unseen = unseen_classes(train_set, val_set)

    measured = fingerprint(train_set, seed=config.seed)
    if config.resume:
        recipe = _stored_recipe(folder, config, measured, train_set)
    else:
        recipe = _new_recipe(config, measured, source, device, len(train_set.labels))
    config = recipe.config
    module, beginning = build_start(config.network, train_set.labels, source, config.seed)
    if isinstance(module, SemanticModel):
        module.criterion = _criterion(config, module.spec.head, measured)
    for phase in layer_phases(config.layers):
        learning_parameters(module, phase.selection, frozen_parameters(module))

    order = Order(len(train_set), chosen(config.batch), config.accumulate, config.seed)
    held = f"{len(val_set)} for validation" if val_set else "none for validation"
    classes = counted(len(train_set.labels), "class", "es")
    counts = f"{counted(len(train_set), 'picture')} for training, {held}, {classes}"
    maps = (train_set.coding.sentence(train_set.labels),) if train_set.coding else ()
    notes = longer if config.resume else (counts, *left_out, *maps, *unseen, *recipe.reasons, beginning)
    return _Plan(given, recipe, measured, pictures, train_set, val_set, module, order, notes, bool(longer))


def _read(config: TrainConfig, task: Task | None, screen: Console) -> Dataset:
    """The data set of `config` for a task (None: as annotated).

    To leave out what is damaged, all pictures are decoded before the first step.
    """
    with reading_bar(screen, "decoding") as move:
        return read_dataset(
            config.data,
            format=config.format,
            task=task,
            images=config.images,
            policy=config.on_defect,
            decode=config.on_defect == "skip",
            progress=move,
        )


def _finish(folder: Path, config: TrainConfig, outcome: Outcome, judge: _Judge, train_set: Dataset) -> Run:
    """Whatever ended the run, there are weights to predict with, and a report."""
    # Where nothing was validated, weights that lie there are those with which an earlier part of the run ended.
    if outcome.progress.best is None or not (folder / BEST).exists():
        save_model(folder / BEST, outcome.module, judge.card)
    predictor = None
    if outcome.reason != "interrupted" and judge.pictures:
        predictor = judge.predictor(*load_model(folder / BEST))
        judge.best = judge.best or evaluate(predictor, judge.pictures)
    write_summary(folder, config, train_set, judge.pictures, judge.best, predictor, outcome.reason)
    progress = outcome.progress
    return Run(folder, outcome.reason, judge.best, config, progress.step, progress.seconds, outcome.signal)


@dataclass(slots=True)
class _Judge:
    """Validates weights, and keeps the best ones with their scores."""

    folder: Path
    card: Card
    pictures: Dataset | None
    device: torch.device
    exact: bool
    last: Report | None = None
    best: Report | None = None

    def predictor(self, module: RCNN | SemanticModel, card: Card) -> Predictor:
        """Predicts in float32 where training does."""
        return build_predictor(module, card, str(self.device), precision="exact" if self.exact else "auto")

    def validate(self, module: nn.Module) -> Validation:
        predictor = self.predictor(module, self.card)  # type: ignore[arg-type]
        self.last = evaluate(predictor, chosen(self.pictures), batch=8 if self.device.type == "cuda" else 1)
        return Validation(self.last.headline, self.last.numbers())

    def keep(self, module: nn.Module, result: Validation) -> None:
        self.best = self.last
        save_model(self.folder / BEST, module, replace(self.card, metrics=result.numbers))


def _divided(pictures: Dataset, config: TrainConfig) -> Dataset:
    """The pictures with the splits they bring; where train or validation is missing there, drawn by the seed."""
    brought = pictures.splits()
    loose = len(pictures) - sum(brought.values())
    if brought and loose:
        raise DataError(
            f"{printable(config.data)}: {counted(loose, 'picture')} without a split, while others belong to "
            f"{', '.join(brought)}",
            hint="put every picture into train, val or test, or bring no splits at all",
        )
    if brought and "train" not in brought:
        raise ConfigError(
            f"{printable(config.data)} has no pictures for training; its splits are {', '.join(brought)}",
            hint="name one of its splits train, or give a data set without splits",
        )
    if any(name in brought for name in _VALIDATION):
        return pictures
    shares = [("val", config.val_fraction), ("test", 0.0 if set(brought) - {"train"} else config.test_fraction)]
    shares = [(name, share) for name, share in shares if share]
    fractions = [("train", 1 - sum(share for _, share in shares)), *shares]
    drawn = draw_split(pictures.split("train") if brought else pictures, seed=config.seed, fractions=fractions)
    others = tuple(record for record in pictures.records if record.split not in (None, "train"))
    return replace(drawn, records=(*drawn.records, *others))


def _new_recipe(
    config: TrainConfig, measured: Fingerprint, source: Source | None, device: torch.device, num_classes: int
) -> Recipe:
    """All settings, chosen for the data, the weights to start from, and the device."""
    gpu, start = device.type == "cuda", source.start if source else None
    if config.precision == "auto":
        config = replace(config, precision="bf16" if has_fast_bf16(device) else "fp32")
    if config.workers is None:
        # On a CPU the network takes every core there is; more processes would only share them.
        config = replace(config, workers=min(8, torch.get_num_threads()) if gpu else 0)
    if config.task == "semantic":
        return resolve_semantic(config, measured, num_classes=num_classes, gpu=gpu, start=start)
    return resolve(config, measured, gpu=gpu, start=start)


def _criterion(config: TrainConfig, task: Head, measured: Fingerprint) -> LossSum:
    weights = class_weights(measured.class_shares) if config.class_weights == "auto" else None
    return build_loss(chosen(config.loss), task, class_weights=weights, label_smoothing=config.label_smoothing)


def _read_config(file: Path) -> TrainConfig:
    stored = json.loads(file.read_bytes())
    return config_from_json(stored.get("settings", stored))


def _write_settings(folder: Path, plan: _Plan) -> None:
    """`config.json` is complete; `origin.json` is what was given and found, to be compared on resuming."""
    write_split(folder / SPLITS, plan.pictures)
    facts = _facts(plan.measured, plan.train, plan.recipe.preprocess)
    write_json(folder / ORIGIN, {"settings": plan.given.to_json()} | facts, indent=1)
    _write_config(folder, plan.recipe.config)


def _write_config(folder: Path, config: TrainConfig) -> None:
    write_json(folder / CONFIG, replace(config, resume=False, overwrite=False).to_json(), indent=1)


def _stored_recipe(folder: Path, config: TrainConfig, measured: Fingerprint, train_set: Dataset) -> Recipe:
    """What the run began with; `DataError` when the data are no longer the same."""
    stored = json.loads((folder / ORIGIN).read_bytes())
    preprocess = Preprocess.from_json(stored["preprocess"])
    facts = json.loads(json.dumps(_facts(measured, train_set, preprocess)))
    stored["labels"] = Labels.from_json(stored["labels"]).to_json()  # as earlier versions wrote them
    changed = [name for name, value in facts.items() if stored.get(name) != value]
    if changed:
        raise DataError(
            f"the data are not those that this run began with: {' and '.join(changed)} changed",
            hint=f"bring them back as they were, or start a new run with --weights {folder}",
        )
    return Recipe(config, preprocess, ())


def _facts(measured: Fingerprint, train_set: Dataset, preprocess: Preprocess) -> dict[str, object]:
    return {
        "labels": train_set.labels.to_json(),
        "fingerprint": measured.to_json(),
        "preprocess": preprocess.to_json(),
    }


def _batches(plan: _Plan, device: torch.device, first: int, last: int) -> Iterator[Batch]:
    config, preprocess = plan.recipe.config, plan.recipe.preprocess
    build_pipeline = SemanticPipeline if plan.train.kind == "label maps" else InstancePipeline
    pipeline = build_pipeline(packed(plan.train), preprocess, config.augment, config.seed, config.crop)
    return read_batches(
        pipeline,
        plan.order,
        first=first,
        last=last,
        workers=chosen(config.workers),
        divisor=preprocess.divisor,
        pin=device.type == "cuda",
    )
