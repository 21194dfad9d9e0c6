"""Which task a training has: by what is asked, by the weights it starts from, or by its data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from everymask.data.change.coding import ChangeCoding
from everymask.data.dataset import Dataset
from everymask.data.formats.crowds import CURE, count_crowds
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.change import ChangeSpec
from everymask.models.specs.named import with_options
from everymask.models.specs.queries import QuerySpec
from everymask.models.specs.semantic import SemanticModelSpec, SemanticSpec
from everymask.settings.config import TrainConfig
from everymask.settings.recipes import model_for_weights
from everymask.tasks.change import CHANGE
from everymask.tasks.table import task_named, task_of
from everymask.tasks.task import Task


def asked_task(config: TrainConfig, stored: ModelSpec | None = None) -> Task[Any] | None:
    """The task that the settings ask for, or the weights' `stored` model; None: that is for the data set to say.

    Who names things or stuff asks for panoptic maps. `ConfigError` where task and model do not go together.
    """
    name = config.task or ("panoptic" if config.rule else None)
    asked = None if name is None else task_named(name)
    model = config.network or stored
    if model is None:
        return asked
    if isinstance(model, QuerySpec) and (model.task is None or (config.network is None is not asked)):
        suited(model, asked)
        return asked
    by_model = task_of(suited(model, asked))
    if asked is not None and asked.name != by_model.name:
        raise ConfigError(
            f"the task is {asked.name}, but {type(model).__name__} {by_model.finds}",
            hint=f"choose a model of that kind, such as --model {asked.settings.example}, or --task {by_model.name}",
        )
    return by_model


def suited(model: ModelSpec, task: Task[Any] | None) -> ModelSpec:
    """The network as a task needs it: a semantic one is made to compare two dates by their difference where the task is
    to find changes, and what the answers of queries become follows the task. `ConfigError` where they cannot.
    """
    if isinstance(model, QuerySpec) and model.task is None and task is not None:
        if task.name == "change":
            raise ConfigError(
                f"the task is change, but a {type(model).__name__} sees one picture",
                hint=f"choose a model of that kind, such as --model {task.settings.example}",
            )
        return replace(model, task=task.name)
    if task is CHANGE and isinstance(model, SemanticSpec) and model.fusion is None:
        return replace(model, fusion="difference", head="binary" if model.head == "multiclass" else model.head)
    return model


def settle_task(
    config: TrainConfig, dataset: Dataset, stored: ModelSpec | None = None, *, gpu: bool = False
) -> tuple[Task[Any], ModelSpec]:
    """Task and model of a training, by what is set, the weights' `stored` model, the data set, and the machine.

    Errors as in `asked_task` and `Dataset.for_task`.
    """
    task = asked_task(config, stored) or task_of(dataset)
    dataset = dataset.for_task(task.name, rule=config.rule)
    usual = type(stored)() if stored else task.network(gpu)[0]
    if stored is not None and getattr(stored, "keeps_size", False):
        usual = stored
    model = config.network or with_options(usual, config.encoder, config.norm, config.head, config.fusion)
    if stored is not None:
        model = model_for_weights(model, stored)
        if isinstance(model, QuerySpec):  # whatever the weights served before
            model = replace(model, task=None, things=())
    model = suited(model, task)
    if isinstance(model, ChangeSpec):
        _check_binary(model, dataset)
    return task, _headed(model, dataset, config) if isinstance(model, SemanticSpec) else model


def _headed(model: SemanticModelSpec, dataset: Dataset, config: TrainConfig) -> SemanticModelSpec:
    """The network with the head that the classes ask for, where no other was asked for.

    `ConfigError` where it should learn what became of what, which the data set does not say.
    """
    both = isinstance(dataset.coding, ChangeCoding) and dataset.coding.both
    two = len(dataset.labels) == 2
    if model.head == "from-to" and not both:
        if getattr(config.network, "head", config.head) == model.head:
            raise ConfigError(
                f"{printable(dataset.root)} does not say what became of what, which a head from-to learns",
                hint="leave out --head, or give labels of both dates: label1/ and label2/",
            )
        return replace(model, head="binary" if two else "multiclass")
    if both and model.head == "binary" and model.fusion in ("concat", "difference"):
        return replace(model, head="from-to")
    if model.head == "binary" and not two and config.model is None is config.head:
        return replace(model, head="multiclass")
    return model


def _check_binary(model: ChangeSpec, dataset: Dataset) -> None:
    """`ConfigError` where a network for one kind of change is to learn several."""
    if model.head == "binary" and len(dataset.labels) != 2:
        both = isinstance(dataset.coding, ChangeCoding) and dataset.coding.both
        cure = "only that something changed is learned with --masks label2, what became of what by --model unet "
        raise ConfigError(
            f"{type(model).__name__} tells what changed from what did not, but {printable(dataset.root)} has "
            f"{len(dataset.labels)} classes",
            hint=f"{cure}--fusion difference" if both else "choose --head multiclass",
        )


def unseen_classes(train_set: Dataset, val_set: Dataset | None) -> tuple[str, ...]:
    """A line about the classes that no training picture shows; `DataError` where a part shows nothing at all."""
    task = task_of(train_set)
    shown = task.shown(train_set)
    for part, pictures in (("training", train_set), ("validation", val_set)):
        seen = None if pictures is None else task.shown(pictures)
        if pictures is not None and seen is not None and not seen:
            crowds, _ = count_crowds(pictures)
            only = f" but {counted(crowds, 'crowd')}, from which nothing can be learned" if crowds else ""
            hint = CURE if crowds else "put annotated pictures among them, or draw the split with another --seed"
            raise DataError(f"the {part} pictures show no {task.content}{only}", hint=hint)
    absent = [
        printable(name, 40)
        for class_id, name in enumerate(train_set.labels.names)
        if shown is not None and class_id not in shown
    ]
    return (f"no training picture shows {', '.join(absent)}",) if absent else ()
