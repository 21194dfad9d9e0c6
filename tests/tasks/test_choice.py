"""What a training is told about the classes that its pictures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.segmentation import TaskName
from everymask.data.dataset import Dataset
from everymask.data.records import Annotation, Objects, Polygons, Record
from everymask.errors import ConfigError, DataError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.queries import Mask2Former, mask2former_small
from everymask.models.specs.regions import MaskRCNN, mask_rcnn_small
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.tasks.choice import asked_task, settle_task, unseen_classes
from everymask.tasks.table import task_named

SQUARE = Polygons((np.array([[1, 1], [9, 1], [9, 9], [1, 9]], float),))


@pytest.mark.parametrize(
    ("task", "gpu", "model"),
    [
        ("instance", True, MaskRCNN(encoder="resnet34")),
        ("instance", False, mask_rcnn_small(encoder="resnet34")),
        ("semantic", False, UNet(encoder="resnet34")),
    ],
)
def test_an_encoder_alone_chooses_neither_the_task_nor_the_size(task: TaskName, gpu: bool, model: ModelSpec) -> None:
    record = Record("a", Path("a.png"), (10, 10), Objects((Annotation(0, SQUARE),)))
    objects = Dataset(labels_of(["cat", "dog"]), (record,), "labelme", Path()).for_task(task)
    config = TrainConfig(data="d", encoder="resnet34")
    assert asked_task(config) is None
    found = settle_task(config, objects, gpu=gpu)
    assert (found[0].name, found[1]) == (task, model)


def test_b11_regions_to_ignore_show_no_class() -> None:
    ignored = Record("a", Path("a.png"), (10, 10), Objects((), (SQUARE,)))
    objects = Dataset(labels_of(["cat", "dog"]), (ignored,), "labelme", Path())
    with pytest.raises(DataError, match="the training pictures show no class"):
        unseen_classes(objects.semantic(), None)
    both = replace(objects, records=(replace(ignored, truth=Objects((Annotation(1, SQUARE),), (SQUARE,))),))
    assert unseen_classes(both.semantic(), None) == ("no training picture shows cat",)
    with pytest.raises(DataError, match="the validation pictures show no class"):
        unseen_classes(both.semantic(), objects.semantic())


def test_pictures_of_crowds_alone_say_so_and_how_to_read_them() -> None:
    """As of a COCO file whose masks were drawn with CVAT's brush."""
    ring = np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]])
    crowd = Annotation(0, Polygons((ring,)), crowd=True)
    record = Record("a", Path("a.png"), (10, 10), Objects((crowd, crowd)))
    dataset = Dataset(labels_of(["cat"]), (record,), "coco", Path())
    with pytest.raises(DataError, match=r"show no objects but 2 crowds(?s:.*)--crowds as-objects"):
        unseen_classes(dataset, None)


def _squares(task: TaskName | None = None) -> Dataset:
    record = Record("a", Path("a.png"), (10, 10), Objects((Annotation(0, SQUARE),)))
    return Dataset(labels_of(["cat", "dog"]), (record,), "labelme", Path()).for_task(task)


def test_queries_serve_the_task_of_the_data_or_the_one_that_is_asked_for() -> None:
    small = TrainConfig(data="d", model="mask2former-small")
    assert asked_task(small) is None, "which is for the data to say"
    for config, dataset, task in (
        (small, _squares(), "instance"),
        (small, _squares("semantic"), "semantic"),
        (replace(small, task="semantic"), _squares(), "semantic"),
        (replace(small, stuff=("dog",)), _squares(), "panoptic"),
        (TrainConfig(data="d", model=Mask2Former(task="semantic")), _squares(), "semantic"),
    ):
        found, model = settle_task(config, dataset)
        assert isinstance(model, Mask2Former) and found.name == model.task == task


def test_weights_of_queries_begin_another_task() -> None:
    stored = mask2former_small(task="panoptic", things=(0,), queries=30)
    assert asked_task(TrainConfig(data="d"), stored) is task_named("panoptic"), "which they are for"
    for config in (TrainConfig(data="d", task="instance"), TrainConfig(data="d", model="mask2former-small")):
        task, model = settle_task(config, _squares(), stored)
        assert (task.name, model.encoder) == ("instance", "resnet18")
        assert isinstance(model, Mask2Former) and (model.task, model.things) == ("instance", ())
    assert settle_task(TrainConfig(data="d", task="instance"), _squares(), stored)[1] == replace(
        stored, task="instance", things=()
    )


def test_queries_that_are_built_for_another_task_or_cannot_compare_dates_are_refused() -> None:
    with pytest.raises(ConfigError, match="the task is instance, but Mask2Former says of every pixel what it is"):
        asked_task(TrainConfig(data="d", model=Mask2Former(task="semantic"), task="instance"))
    with pytest.raises(ConfigError, match=r"task is change, but a Mask2Former sees one picture(.|\n)*--model tinycd"):
        asked_task(TrainConfig(data="d", model="mask2former-r50", task="change"))
