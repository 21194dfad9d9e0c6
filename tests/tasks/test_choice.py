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
from everymask.errors import DataError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.tasks.choice import asked_task, settle_task, unseen_classes

SQUARE = Polygons((np.array([[1, 1], [9, 1], [9, 9], [1, 9]], float),))


@pytest.mark.parametrize(
    ("task", "model"), [("instance", MaskRCNN(encoder="resnet18")), ("semantic", UNet(encoder="resnet18"))]
)
def test_an_encoder_alone_does_not_choose_the_task(task: TaskName, model: ModelSpec) -> None:
    record = Record("a", Path("a.png"), (10, 10), Objects((Annotation(0, SQUARE),)))
    objects = Dataset(labels_of(["cat", "dog"]), (record,), "labelme", Path()).for_task(task)
    config = TrainConfig(data="d", encoder="resnet18")
    assert asked_task(config) is None
    found = settle_task(config, objects)
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
