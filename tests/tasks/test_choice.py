"""What a training is told about the classes that its pictures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.data.dataset import Annotation, Dataset, Objects, Polygons, Record
from everymask.errors import DataError
from everymask.tasks.choice import unseen_classes

SQUARE = Polygons((np.array([[1, 1], [9, 1], [9, 9], [1, 9]], float),))


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
