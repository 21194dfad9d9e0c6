"""Which task a training has, objects one by one or a class for every pixel, and what follows for its data."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import numpy as np

from everymask.core.segmentation import Task
from everymask.data.coding import LabelCoding
from everymask.data.dataset import Dataset, LabelMapFile, panoptic_refused
from everymask.data.painting import Painting
from everymask.data.panoptic import PanopticCoding
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


def settle_task(config: TrainConfig, dataset: Dataset, stored: ModelSpec | None = None) -> TrainConfig:
    """The settings with task and model decided, by what is set, the weights' `stored` model, and the data set.

    Errors as in `asked_task` and `Dataset.for_task`.
    """
    task: Task = asked_task(config, stored) or _task_of(dataset)
    dataset = dataset.for_task(task)
    model = config.model or (type(stored)() if stored else UNet() if task == "semantic" else MaskRCNN())
    model = model if stored is None else model_for_weights(model, stored)
    num_classes = len(dataset.labels)
    if isinstance(model, SemanticSpec) and model.head == "binary" and num_classes != 2 and config.model is None:
        model = replace(model, head="multiclass")
    return replace(config, task=task, model=model)


def _task_of(dataset: Dataset) -> Task:
    match dataset.kind:
        case "objects":
            return "instance"
        case "label maps":
            return "semantic"
        case "panoptic":
            raise panoptic_refused(dataset, "trained on")
        case _:
            assert_never(dataset.kind)


def unseen_classes(train_set: Dataset, val_set: Dataset | None) -> tuple[str, ...]:
    """A line about the classes that no training picture shows; `DataError` where a part shows nothing at all."""
    for part, pictures in (("training", train_set), ("validation", val_set)):
        seen = None if pictures is None else _shown(pictures)
        if seen is not None and not seen:
            raise DataError(
                f"the {part} pictures show no {'objects' if train_set.kind == 'objects' else 'class'}",
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
    match pictures.coding:
        case None:
            return _object_classes(pictures)
        case Painting(classes, background):
            objects = _object_classes(pictures)
            return {background, *(classes[class_id] for class_id in objects)} if objects else set()
        case LabelCoding():
            pixels = [record.truth.pixels for record in pictures.records if isinstance(record.truth, LabelMapFile)]
            return set(np.flatnonzero(np.sum(pixels, axis=0)).tolist()) if all(pixels) else None
        case PanopticCoding():
            raise panoptic_refused(pictures, "trained on")
        case _:
            assert_never(pictures.coding)


def _object_classes(pictures: Dataset) -> set[int]:
    return {item.class_id for record in pictures.records for item in record.objects.annotations if not item.crowd}
