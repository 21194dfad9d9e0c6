"""Which tasks there are, and which of them something belongs to."""

from __future__ import annotations

from typing import Any, assert_never

from everymask.classical.bases import ObjectMethod, PixelMethod
from everymask.core.segmentation import InstanceSet, PanopticMap, Segmentation, SemanticMap, TaskName
from everymask.data.dataset import Dataset, panoptic_refused
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import AnySpec
from everymask.models.specs.regions import FasterRCNN
from everymask.models.specs.semantic import SemanticSpec
from everymask.tasks.instance import INSTANCE
from everymask.tasks.semantic import SEMANTIC
from everymask.tasks.task import Task


def task_named(name: TaskName) -> Task[Any]:
    """The task of that name."""
    match name:
        case "instance":
            return INSTANCE
        case "semantic":
            return SEMANTIC
        case _:
            assert_never(name)


def task_of(value: AnySpec | Segmentation | Dataset) -> Task[Any]:
    """The task that a network or method is for, that has this kind of truth, or that a data set is annotated for.

    `ConfigError` for panoptic maps, which no network gives yet.
    """
    match value:
        case FasterRCNN() | ObjectMethod() | InstanceSet():
            return INSTANCE
        case SemanticSpec() | PixelMethod() | SemanticMap():
            return SEMANTIC
        case PanopticMap():
            raise ConfigError("panoptic maps are read and held, but no network of this version gives them")
        case Dataset():
            return _annotated_for(value)
        case _:
            assert_never(value)


def _annotated_for(dataset: Dataset) -> Task[Any]:
    match dataset.kind:
        case "objects":
            return INSTANCE
        case "label maps":
            return SEMANTIC
        case "panoptic":
            raise panoptic_refused(dataset, "trained on or evaluated")
        case _:
            assert_never(dataset.kind)
