"""Every format into every other and back: exact where both can hold it, and otherwise the loss is told by object."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.data.conversion.losses import Losses, compare
from everymask.data.conversion.writing import write_measured
from everymask.data.dataset import Dataset
from everymask.data.formats.table import FORMATS, for_format, read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons
from tests.contracts.test_formats import CASES, make_fake
from tests.data.semantic_files import make_semantic
from tests.quick import quick

OBJECTS = [known.name for known in FORMATS if known.task == "instance"]
MAPS = ["camvid", "voc-semantic", "image-masks"]  # the others have classes of their own
CROWDS = {name for name, case in CASES.items() if case.crowd}
FLAT = {name for name, case in CASES.items() if not case.overlap}
# Outlines, pixels and numbers, each there and back; every other pair in the slow suite.
FEW = [("coco", "yolo"), ("labelme", "voc"), ("geojson", "imagej"), ("instance-pngs", "datumaro"), ("cvat", "rle-csv")]
every_pair = pytest.mark.parametrize(
    "pair",
    quick([pair for pair in product(OBJECTS, OBJECTS) if pair[0] != pair[1]], FEW),
    ids="-".join,
)


def converted(folder: Path, dataset: Dataset, name: str) -> tuple[Dataset, Losses]:
    """What is read of a data set that was written in a format, and the losses that were measured."""
    losses = write_measured(folder, for_format(dataset, name), name, lambda what: nullcontext(lambda done, total: None))
    found = read_dataset(folder)
    assert found.format == name
    return found, losses


@every_pair
def test_there_and_back_it_is_the_same(tmp_path, pair):
    first, second = pair
    made = make_fake(tmp_path / "in")
    start, losses = converted(tmp_path / "a", made, first)
    assert losses.is_whole and losses.compared == losses.exact == 11
    there, losses = converted(tmp_path / "b", start, second)
    assert losses.is_whole and losses.exact == 11
    back, losses = converted(tmp_path / "c", there, first)
    assert losses.is_whole
    assert compare(made, back).is_whole
    assert back.splits() == made.splits() and back.labels.names == made.labels.names


@every_pair
def test_what_the_other_cannot_hold_is_told_and_nothing_else_changes(tmp_path, pair):
    """In three pictures objects share pixels, and in three others one is a crowd."""
    first, second = pair
    for kind, reason, holding in (
        ("overlap", "what smaller objects cover is taken away", set(OBJECTS) - FLAT),
        ("crowd", "crowds are left out", CROWDS),
    ):
        made = make_fake(tmp_path / kind, **{kind: True})
        start, _ = converted(tmp_path / f"{kind}-a", made, first)
        _, losses = converted(tmp_path / f"{kind}-b", start, second)
        lost = first in holding and second not in holding
        assert dict(losses.reasons) == ({reason: 3} if lost else {})
        assert not losses.others
        assert losses.exact == losses.compared - 3 * lost
        assert all(0.5 < loss.iou < 1 for loss in losses.lost if kind == "overlap")


@pytest.mark.parametrize("name", OBJECTS)
def test_classes_called_as_what_formats_reserve_come_back_as_what_they_were(tmp_path, name):
    made = replace(make_fake(tmp_path / "in"), labels=labels_of(["background", "void"]))
    for labels in (made.labels, labels_of(["ignore", "Ignored"]), labels_of(["_background_x", "unlabelled"])):
        folder = tmp_path / labels.names[0]
        back, losses = converted(folder, replace(made, labels=labels), name)
        assert losses.is_whole, losses.sentences()
        assert back.labels.names == labels.names and back.kind == "objects"


@pytest.mark.parametrize("objects", [1, 2, 5])
def test_few_objects_in_a_picture_come_back_as_objects(tmp_path, objects):
    made = make_fake(tmp_path / "in", splits=False)
    rings = [np.array([[x, 2.0], [x + 5, 2.0], [x + 5, 9.0]]) for x in range(2, 2 + 7 * objects, 7)]
    truth = Objects(tuple(Annotation(0, Polygons((ring,))) for ring in rings))
    made = replace(made, records=tuple(replace(record, truth=truth) for record in made.records))
    back, losses = converted(tmp_path / "out", made, "instance-pngs")
    assert losses.is_whole and losses.compared == 4 * objects and back.kind == "objects"


@pytest.mark.parametrize("first", MAPS)
@pytest.mark.parametrize("second", MAPS)
def test_label_maps_there_and_back(tmp_path, first, second):
    made = make_semantic(tmp_path / "in", labels_of(["background", "cell", "Öl drop"]))
    start, losses = converted(tmp_path / "a", made, first)
    assert losses.is_whole and losses.compared == 4 * 4  # classes, and what is without truth
    there, losses = converted(tmp_path / "b", start, second)
    assert losses.is_whole
    back, losses = converted(tmp_path / "c", there, first)
    assert losses.is_whole and compare(made, back).is_whole


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "cvat", "label-studio", "via", "supervisely", "imagej"])
def test_boxes_are_compared_as_boxes(tmp_path, name):
    made = make_fake(tmp_path / "in")
    boxes = (Annotation(0, BoxOnly(), (2.0, 3.0, 12.0, 9.0)), Annotation(1, BoxOnly(), (4.25, 5.5, 20.5, 17.75)))
    records = tuple(replace(record, truth=Objects(boxes)) for record in made.records)
    _, losses = converted(tmp_path / "out", replace(made, records=records, boxes_only=True), name)
    rounded = 4 if name == "supervisely" else 0
    assert (losses.compared, losses.exact) == (8, 8 - rounded)
    assert dict(losses.reasons) == ({"boxes are rounded": 4} if rounded else {})
    assert all(0.8 < loss.iou < 1 for loss in losses.lost)
