"""Which tasks there are, and which of them something belongs to."""

from __future__ import annotations

from typing import Any, assert_never

from everymask.classical.bases import ObjectMethod, PixelMethod
from everymask.core.segmentation import ChangeMap, InstanceSet, PanopticMap, Segmentation, SemanticMap, TaskName
from everymask.data.dataset import Dataset
from everymask.models.specs.any_spec import AnySpec
from everymask.models.specs.change import ChangeSpec
from everymask.models.specs.detr import RFDETR
from everymask.models.specs.onestage import OneStageSpec
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.prompted import PromptedSpec
from everymask.models.specs.queries import QuerySpec
from everymask.models.specs.regions import FasterRCNN
from everymask.models.specs.semantic import SemanticSpec
from everymask.tasks.change import CHANGE
from everymask.tasks.instance import INSTANCE
from everymask.tasks.panoptic import PANOPTIC
from everymask.tasks.prompted import PROMPTED
from everymask.tasks.semantic import SEMANTIC
from everymask.tasks.task import Task


def task_named(name: TaskName) -> Task[Any]:
    """The task of that name."""
    match name:
        case "instance":
            return INSTANCE
        case "semantic":
            return SEMANTIC
        case "panoptic":
            return PANOPTIC
        case "change":
            return CHANGE
        case _:
            assert_never(name)


def task_of(value: AnySpec | Segmentation | Dataset) -> Task[Any]:
    """The task that a network or method is for, that has this kind of truth, or that a data set is annotated for."""
    match value:
        case PanopticFPN() | PanopticMap():
            return PANOPTIC
        case FasterRCNN() | OneStageSpec() | RFDETR() | ObjectMethod() | InstanceSet():
            return INSTANCE
        case PromptedSpec():
            return PROMPTED
        case ChangeSpec() | ChangeMap():
            return CHANGE
        case SemanticSpec():
            return SEMANTIC if value.fusion is None else CHANGE
        case PixelMethod() | SemanticMap():
            return SEMANTIC
        case QuerySpec():
            return task_named(value.task or "panoptic")
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
        case "change maps":
            return CHANGE
        case "panoptic":
            return PANOPTIC
        case _:
            assert_never(dataset.kind)
