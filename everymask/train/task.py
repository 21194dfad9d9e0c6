"""Which task a training has, objects one by one or a class for every pixel, and what follows for its data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everymask.core.segmentation import Task
from everymask.data.coding import NO_OBJECT
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, DataError, printable
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import SemanticSpec, UNet
from everymask.settings.config import TrainConfig
from everymask.settings.recipes import model_for_weights


def asked_task(config: TrainConfig, stored: ModelSpec | None = None) -> Task | None:
    """The task that the settings ask for, or the weights' `stored` model; None: that is for the data set to say.

    `ConfigError` where task and model do not go together.
    """
    model = config.model or (None if stored is None else type(stored)())
    if model is None:
        return config.task
    by_model: Task = "semantic" if isinstance(model, SemanticSpec) else "instance"
    if config.task not in (None, by_model):
        found = "finds objects" if by_model == "instance" else "says of every pixel what it is"
        kin = "unet" if config.task == "semantic" else "mask-rcnn"
        raise ConfigError(
            f"the task is {config.task}, but {type(model).__name__} {found}",
            hint=f"choose a model of that kind, such as --model {kin}, or --task {by_model}",
        )
    return by_model


def settle_task(config: TrainConfig, dataset: Dataset, stored: ModelSpec | None = None) -> tuple[Task, ModelSpec]:
    """Task and model of a training, by what is set, the weights' `stored` model, and the data set.

    Errors as in `asked_task` and `Dataset.for_task`.
    """
    task: Task = asked_task(config, stored) or ("semantic" if dataset.is_semantic else "instance")
    dataset = dataset.for_task(task)
    model = config.model or (type(stored)() if stored else UNet() if task == "semantic" else MaskRCNN())
    model = model if stored is None else model_for_weights(model, stored)
    num_classes = len(dataset.labels)
    if isinstance(model, SemanticSpec) and model.head == "binary" and num_classes != 2 and config.model is None:
        model = replace(model, head="multiclass")
    return task, model


def unseen_classes(train_set: Dataset, val_set: Dataset | None) -> tuple[str, ...]:
    """A line about the classes that no training picture shows; `DataError` where a part shows nothing at all."""
    for part, pictures in (("training", train_set), ("validation", val_set)):
        seen = None if pictures is None else _shown(pictures)
        if seen is not None and not seen:
            raise DataError(
                f"the {part} pictures show no {'class' if train_set.is_semantic else 'objects'}",
                hint="put annotated pictures among them, or draw the split with another --seed",
            )
    shown = _shown(train_set)
    absent = [
        printable(name, 40)
        for class_id, name in enumerate(train_set.labels.names)
        if shown is not None and class_id not in shown
    ]
    return (f"no training picture shows {', '.join(absent)}",) if absent else ()


def _shown(pictures: Dataset) -> set[int] | None:
    """The ids of the classes that occur, crowds and regions to ignore aside; None where all must be read to know."""
    items = (item for record in pictures.records for item in record.annotations)
    objects = {item.class_id for item in items if not item.crowd and item.class_id >= 0}
    if pictures.coding is None:
        return objects
    if pictures.coding.kind == "objects":
        painted = dict(pictures.coding.table)
        return {painted[class_id] for class_id in (NO_OBJECT, *objects)} if objects else set()
    if not all(record.pixels for record in pictures.records):
        return None
    return set(np.flatnonzero(np.sum([record.pixels for record in pictures.records], axis=0)).tolist())
