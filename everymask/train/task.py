"""Which task a training has, objects one by one or a class for every pixel, and what follows for its data."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from everymask.data.dataset import Dataset
from everymask.data.label_maps import NO_OBJECT
from everymask.errors import ConfigError, DataError, printable
from everymask.models.any_spec import ModelSpec
from everymask.models.dense_specs import DenseSpec, UNet
from everymask.models.specs import MaskRCNN
from everymask.train.config import Task, TrainConfig
from everymask.train.recipes import model_for_weights


def settle_task(config: TrainConfig, dataset: Dataset, stored: ModelSpec | None = None) -> TrainConfig:
    """The settings with task and model decided, by what is set, the weights' `stored` model, and the data set.

    `ConfigError` where they do not go together.
    """
    model = config.model or (None if stored is None else type(stored)())
    by_model: Task | None = None if model is None else "semantic" if isinstance(model, DenseSpec) else "instance"
    task: Task = config.task or by_model or ("semantic" if dataset.is_semantic else "instance")
    if by_model not in (None, task):
        found = "finds objects" if by_model == "instance" else "says of every pixel what it is"
        raise ConfigError(
            f"the task is {task}, but {type(model).__name__} {found}",
            hint=f"choose a model of that kind, such as --model {'unet' if task == 'semantic' else 'mask-rcnn'}, "
            f"or --task {by_model}",
        )
    if task == "instance" and dataset.is_semantic:
        raise ConfigError(
            f"{printable(config.data)} has label maps, which do not tell objects apart, and a model that finds objects "
            "cannot learn from them",
            hint="choose a semantic network, such as --model unet, or give annotations of single objects",
        )
    model = model or (UNet() if task == "semantic" else MaskRCNN())
    model = model if stored is None else model_for_weights(model, stored)
    num_classes = len(dataset.semantic().labels) if task == "semantic" else 0
    if isinstance(model, DenseSpec) and model.task == "binary" and num_classes != 2 and config.model is None:
        model = replace(model, task="multiclass")
    return replace(config, task=task, model=model)


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
    """The ids of the classes that occur, crowds aside; None where that is not known before all is read."""
    objects = Counter(item.class_id for record in pictures.records for item in record.annotations if not item.crowd)
    if pictures.encoding is None:
        return set(objects)
    if pictures.encoding.kind == "objects":
        painted = dict(pictures.encoding.table)
        return {painted[class_id] for class_id in (NO_OBJECT, *objects)} if objects else set()
    if not all(record.pixels for record in pictures.records):
        return None
    return set(np.flatnonzero(np.sum([record.pixels for record in pictures.records], axis=0)).tolist())
