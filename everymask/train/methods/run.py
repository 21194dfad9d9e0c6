"""From a configuration to a run folder, for methods without a network: the same files, in one go and without torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

from rich.console import Console

from everymask.backends.methods import MethodBackend
from everymask.classical.bases import Method
from everymask.classical.feed import resize_of
from everymask.classical.named import method_name
from everymask.classical.specs import PixelForest
from everymask.core.processes.launched import launched
from everymask.core.processes.rank import ALONE
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint, fingerprint
from everymask.data.identity.watch import watched
from everymask.errors import ConfigError, counted, printable
from everymask.evaluate import evaluate
from everymask.infer.predictor import Predictor
from everymask.models.card import Card
from everymask.models.method_file import save_method
from everymask.settings.config import TrainConfig
from everymask.tasks.choice import unseen_classes
from everymask.tasks.table import task_of
from everymask.train.folder.ended import failure_kept
from everymask.train.folder.given import bring_back, write_decided, write_given
from everymask.train.folder.layout import BEST, clear_folder, open_folder
from everymask.train.folder.logs import Log, Screen, memory, reading_bar
from everymask.train.folder.progress import Progress, Run
from everymask.train.folder.summary import write_summary
from everymask.train.methods.learning import PICTURES, Learned, chosen, grown, num_trials, tried, tune
from everymask.train.pictures import divided, read_pictures, seen, validation

_MEANT = (
    *("data", "format", "images", "masks", "mask_threshold", "on_defect", "crowds", "out", "overwrite", "resume"),
    *("task", "model", "val_fraction", "test_fraction", "seed", "workers", "device", "weights"),
)
"""Settings that mean something, or nothing else than usual, where there is no network."""
_TIMED = 2  # pictures from which the time of all is estimated


@dataclass(frozen=True, slots=True)
class _Taught:
    """What was decided for a run of a method."""

    settings: TrainConfig
    preprocess: Preprocess


@dataclass(frozen=True, slots=True)
class _Ground:
    """The pictures that a method learns from and is judged by, and how they are fed."""

    pictures: Dataset
    train: Dataset
    val: Dataset | None
    measured: Fingerprint
    preprocess: Preprocess
    notes: tuple[str, ...]


def train_method(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """Learn, and leave the folder of a run: settings, what was given, log, model file, splits, report.

    Errors as in `everymask.train`; `ConfigError` besides for a method that learns nothing, for settings that only
    networks have, and for `resume`.
    """
    spec = _checked(config)
    started = time.monotonic()
    screen = console or Screen(stderr=True)
    with open_folder(config.out, resume=False, overwrite=config.overwrite, data=config.data) as folder:
        ground = _read(config, spec, dataset, screen)
        given = seen(ground.pictures, screen)
        kept = partial(watched, seen=given.seen, hint=bring_back(folder))
        clear_folder(folder)
        settings = replace(config, task=task_of(spec).name)
        write_given(folder, config, _Taught(settings, ground.preprocess), given, ground.train, ground.measured)
        with failure_kept(folder, ALONE), Log(folder, screen, tensorboard=False) as log:
            for note in ground.notes:
                log.note(note)
            with reading_bar(screen, "learning") as move:
                learned = _learned(spec, kept(ground.train), ground.preprocess, config.seed, move)
            for note in learned.notes:
                log.note(note)
            settings = replace(settings, model=learned.spec)
            write_decided(folder, _Taught(settings, ground.preprocess))
            card = Card(learned.spec, ground.train.labels, ground.preprocess, source=f"trained on {settings.data}")
            predictor = Predictor(MethodBackend(learned.spec, learned.forest), card)
            report = evaluate(predictor, kept(ground.val)) if ground.val else None
            save_method(folder / BEST, replace(card, metrics=report.numbers() if report else {}), learned.forest)
            progress = Progress(seconds=time.monotonic() - started)
            write_summary(
                folder, settings, ground.train, ground.val, report, predictor if report else None, "finished", progress,
                memory(None),
            )  # fmt: skip
    return Run(folder, "finished", report, settings, progress.step, progress.seconds)


def forecast_method(config: TrainConfig, *, dataset: Dataset | None = None) -> tuple[tuple[str, ...], float]:
    """What `train_method` would decide, a line each, and how many seconds it is expected to take; nothing is written.

    A few pictures are timed.
    """
    spec, screen = _checked(config), Screen(stderr=True)
    started = time.monotonic()
    ground = _read(config, spec, dataset, screen)
    reading = time.monotonic() - started
    some = chosen(ground.train, _TIMED, config.seed)
    started = time.monotonic()
    if isinstance(spec, PixelForest):
        small = replace(spec, trees=max(1, spec.trees // 20), pictures=len(some))
        grown(small, some, ground.preprocess, seed=config.seed, progress=_quiet)
        took = time.monotonic() - started
        pictures = min(spec.pictures, len(ground.train))
        # Trees take a little more than twice the time for twice the pixels.
        seconds = reading + took / len(some) * pictures * 4
        what = f"{counted(spec.trees, 'tree')} of pixels from {counted(pictures, 'picture')}"
    else:
        predictor = Predictor(MethodBackend(spec), Card(spec, ground.train.labels, ground.preprocess))
        evaluate(predictor, some)
        each = (time.monotonic() - started) / len(some)
        pictures, trials = min(PICTURES, len(ground.train)), num_trials(spec)
        seconds = reading + each * (pictures * trials + len(ground.val or ()))
        what = f"{', '.join(tried(spec))} by up to {trials} trials on {counted(pictures, 'training picture')}"
    return (*ground.notes, what), seconds


def _quiet(done: int, total: int) -> None:
    """Nobody watches."""


def _learned(
    spec: Method, train: Dataset, preprocess: Preprocess, seed: int, move: Callable[[int, int], None]
) -> Learned:
    if isinstance(spec, PixelForest):
        return grown(spec, train, preprocess, seed=seed, progress=move)
    return tune(spec, train, preprocess, seed=seed, progress=move)


def _checked(config: TrainConfig) -> Method:
    """The method, which can learn as it is asked to."""
    spec = config.method
    if config.resume or spec is None:
        raise ConfigError(
            f"the run in {printable(config.out)} is of a method that learns in one go: there is nothing to go on with",
            hint="train it anew: --overwrite without --resume",
        )
    name, usual = method_name(spec), TrainConfig(data=config.data)
    if not spec.learns:
        tried(spec)
    for column in fields(config):
        if column.name not in _MEANT and getattr(config, column.name) != getattr(usual, column.name):
            raise ConfigError(
                f"{column.name} is a setting of networks, but {name} is a method without one",
                hint=f"leave out {column.name}; --set gives a method its own settings",
            )
    if config.weights not in ("auto", "none"):
        raise ConfigError(f"{name} starts from no weights", hint="leave out weights")
    if config.task not in (None, task_of(spec).name):
        raise ConfigError(
            f"the task is {config.task}, but {name} {task_of(spec).finds}",
            hint="leave out task; --split-objects of predict and evaluate makes objects of what it finds",
        )
    launch = launched()
    if launch is not None and launch.count > 1:
        raise ConfigError(
            f"{name} learns in one process, but {launch.count} were started", hint="start it without torchrun"
        )
    return spec


def _read(config: TrainConfig, spec: Method, dataset: Dataset | None, screen: Console) -> _Ground:
    task = task_of(spec)
    pictures = read_pictures(config, task.name, screen) if dataset is None else dataset
    known = pictures.annotated()
    left_out = (not_annotated(len(pictures) - len(known)),) if len(known) < len(pictures) else ()
    pictures = divided(known.for_task(task.name), config)
    train_set, val_set = pictures.split("train"), validation(pictures)
    count = counted(len(train_set.labels), "class", "es")
    if not spec.learns and len(train_set.labels) != 2:
        raise ConfigError(
            f"{method_name(spec)} tells two classes apart, but the data have {count}",
            hint="--model pixel-forest learns any number of classes",
        )
    measured = fingerprint(train_set, seed=config.seed)
    zeros, ones = (0.0,) * measured.channels, (1.0,) * measured.channels
    preprocess = Preprocess(measured.channels, measured.scale, zeros, ones, resize_of(spec), divisor=1)
    held = f"{len(val_set)} for validation" if val_set else "none for validation"
    counts = f"{counted(len(train_set), 'picture')} for training, {held}, {count}"
    maps = (train_set.coding.sentence(train_set.labels),) if train_set.coding else ()
    notes = (counts, *left_out, *maps, *unseen_classes(train_set, val_set))
    return _Ground(pictures, train_set, val_set, measured, preprocess, notes)
