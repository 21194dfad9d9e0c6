"""Evaluation brings the classes of model and data together by name, and refuses what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from everymask.core.labels import Labels, labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, NotAnnotated, Objects
from everymask.data.shapes import write_shapes
from everymask.data.splits import draw_split, write_split
from everymask.errors import ConfigError, DataError, Issue
from everymask.evaluate import compare, evaluate
from everymask.infer.result import Result
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from everymask.tasks.instance import INSTANCE
from everymask.tasks.task import Judging, Task


@dataclass(frozen=True)
class Oracle:
    """A predictor that knows the truth and numbers the classes in its own way."""

    labels: Labels
    truth: Labels
    most: int = 100
    limit: int | None = None
    has_masks: bool = True
    splits: Path | None = None

    @property
    def card(self) -> Any:
        spec = MaskRCNN() if self.has_masks else FasterRCNN()
        return SimpleNamespace(labels=self.labels, spec=replace(spec, max_detections=self.limit or self.most))

    @property
    def task(self) -> Task[Any]:
        return INSTANCE

    def with_detections(self, most: int) -> Oracle:
        return replace(self, most=most)

    def metrics(self, judging: Judging) -> Any:
        return self.task.metrics(self.labels, self.card.spec, judging)

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        own = np.array([self.labels.names.index(name) for name in self.truth.names])
        for sample in dataset:
            found = replace(
                sample.truth, class_ids=own[sample.truth.class_ids], scores=np.full(len(sample.truth), 0.9, np.float32)
            )
            yield Result(sample, found[: self.most], self.labels, seconds=0.5)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=1, val=8, size=64)
    return read_dataset(folder).split("val")


@pytest.mark.parametrize("names", [("square", "circle", "triangle"), ("triangle", "star", "square", "circle")])
def test_classes_are_matched_by_name(names: tuple[str, ...], shapes: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    oracle = Oracle(labels_of(names), shapes.labels)
    report = evaluate(oracle, shapes, progress=lambda *step: steps.append(step))
    assert report.scores.mask is not None
    assert report.headline == report.scores.mask.AP == report.scores.box.AP == 1
    assert {name: row.num_truths > 0 for name, row in report.scores.per_class.items()} == {
        name: name != "star" for name in names
    }
    assert (report.pictures, report.seconds, steps[-1]) == (8, 0.5, (8, 8))


def renamed(dataset: Dataset, *names: str) -> Dataset:
    return replace(dataset, labels=labels_of(names))


def test_classes_that_are_called_differently_are_mapped(shapes: Dataset) -> None:
    """Several classes of the data may be one of the model's."""
    truth = SimpleNamespace(names=("square", "thing", "thing"))
    oracle = Oracle(labels_of(["thing", "square"]), truth)  # type: ignore[arg-type]
    known = {"circle": "thing", "triangle": "thing"}
    assert evaluate(oracle, shapes, classes=known).headline == 1
    other = renamed(shapes, "box", "circle", "triangle")
    assert compare(oracle, oracle, other, classes=known | {"box": "square"}).difference == 0
    with pytest.raises(DataError, match=r'does not know: box\n.*--classes "box=thing"'):
        evaluate(oracle, other, classes=known)
    for wrong in ({"disc": "thing"}, {"circle": "things"}):
        with pytest.raises(ConfigError, match="a class that is mapped must be one of"):
            evaluate(oracle, shapes, classes=wrong)


def test_classes_that_only_one_side_has_are_listed_unless_they_are_shown(
    shapes: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    wider = renamed(shapes, "square", "circle", "triangle", "star")
    assert evaluate(Oracle(labels_of(["moon", *shapes.labels.names]), shapes.labels), wider).headline == 1
    assert "does not know, and of which there is nothing: star" in caplog.text
    assert "classes of the model that the data set does not have: moon" in caplog.text
    fewer = Oracle(labels_of(["square", "circle"]), SimpleNamespace(names=("square", "circle", "square")))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not know: triangle"):
        evaluate(fewer, shapes)
    crowds = tuple(replace(one, crowd=True, class_id=2) for one in shapes.records[0].objects.annotations)
    only_crowds = replace(shapes, records=(replace(shapes.records[0], truth=Objects(crowds)),))
    with pytest.raises(DataError, match="does not know: triangle"):
        evaluate(fewer, only_crowds)


def test_the_limit_of_detections_is_that_of_the_model_or_the_one_asked_for(shapes: Dataset) -> None:
    oracle = Oracle(shapes.labels, shapes.labels, most=7)
    assert evaluate(oracle, shapes).scores.max_detections == 7
    fewer = evaluate(oracle, shapes, max_detections=1).scores
    assert fewer.max_detections == 1
    assert fewer.pictures[0].num_found == 1


def test_the_size_of_an_object_is_what_the_data_set_says(shapes: Dataset) -> None:
    """As pycocotools, which sorts objects into small, medium and large by the file's `area`."""
    first = shapes.records[0]
    large = tuple(replace(annotation, area=20_000.0) for annotation in first.objects.annotations)
    dataset = replace(shapes, records=(replace(first, truth=Objects(large)),))
    judged = evaluate(Oracle(shapes.labels, shapes.labels), dataset).scores
    scores = judged.mask
    assert scores is not None
    assert scores.APl == pytest.approx(1) and scores.APs == -1
    shown = {row[0]: row[2] for row in judged.tables()[0].rows}
    assert math.isnan(shown["APs"]) and shown["APl"] == scores.APl  # a table shows a dash, and not COCO's -1
    unknown = replace(first, truth=Objects(tuple(replace(a, area=None) for a in first.objects.annotations)))
    assert replace(shapes, records=(unknown,)).objects(0).areas is None


def test_the_split_is_that_of_the_data_or_the_one_that_training_drew(
    tmp_path: Path, shapes: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    write_shapes(tmp_path / "data", train=3, val=2, size=64)
    oracle = Oracle(shapes.labels, shapes.labels)
    assert evaluate(oracle, tmp_path / "data", split="val").pictures == 2
    assert evaluate(oracle, str(tmp_path / "data")).pictures == 5
    drawn = draw_split(shapes, seed=0, fractions=(("train", 0.5), ("val", 0.5)))
    write_split(tmp_path / "splits.json", drawn)
    trained = replace(oracle, splits=tmp_path / "splits.json")
    held_out = {record.id for record in drawn.split("val").records}
    assert {row.id for row in evaluate(trained, shapes, split="val").scores.pictures} == held_out
    assert not caplog.messages
    assert evaluate(trained, shapes).pictures == 8
    assert "trained on" in caplog.text
    assert evaluate(trained, tmp_path / "data", split="val").pictures == 2, "the file tells of another data set"
    with pytest.raises(ConfigError, match="no split 'test'"):
        evaluate(trained, shapes, split="test")


def test_a_path_is_no_model(shapes: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"everymask\.load"):
        evaluate("runs/a", shapes)  # type: ignore[arg-type]


def test_a_report_is_one_line(shapes: Dataset) -> None:
    report = evaluate(Oracle(shapes.labels, shapes.labels), shapes.subset([0]))
    assert repr(report) == "<Report 1 picture: mask AP 1.000, mask AP50 1.000, box AP 1.000, box AP50 1.000>"


def test_boxes_are_compared_where_the_model_has_no_masks(shapes: Dataset) -> None:
    report = evaluate(Oracle(shapes.labels, shapes.labels, has_masks=False), shapes)
    assert report.scores.mask is None
    assert report.headline == report.scores.box.AP == 1


def test_a_class_that_the_model_does_not_know_is_named(shapes: Dataset) -> None:
    oracle = Oracle(labels_of(["square", "circle"]), shapes.labels)
    with pytest.raises(DataError, match="triangle"):
        evaluate(oracle, shapes)


def test_nothing_to_evaluate_on_is_no_score(shapes: Dataset) -> None:
    with pytest.raises(DataError, match="no picture to evaluate on"):
        evaluate(Oracle(shapes.labels, shapes.labels), shapes.subset([]))


def test_masks_are_not_judged_by_boxes(shapes: Dataset) -> None:
    record = replace(shapes.records[0], truth=Objects((Annotation(0, BoxOnly(), (1.0, 1.0, 9.0, 9.0)),)))
    boxes = replace(shapes, records=(record,), boxes_only=True)
    with pytest.raises(DataError, match=f"{record.id}.* only boxes"):
        evaluate(Oracle(shapes.labels, shapes.labels), boxes)


def test_detectors_are_compared_on_the_same_pictures(shapes: Dataset) -> None:
    """One finds everything, the other at most one object of each picture."""
    good, poor = Oracle(shapes.labels, shapes.labels), Oracle(shapes.labels, shapes.labels, most=1)
    with pytest.raises(ConfigError, match="up to 1 objects a picture count in the first model and up to 100"):
        compare(poor, good, shapes)
    found = compare(replace(poor, limit=100), good, shapes)
    assert (found.name, found.second, found.num_pictures) == ("mask AP", 1, 8)
    assert found.difference == 1 - found.first > 0.2
    assert found.low > 0 and found.p_value < 0.05
    assert compare(good, good, shapes).p_value == 1
    boxes = replace(good, has_masks=False)
    with pytest.raises(ConfigError, match="mask AP of the first and box AP of the second cannot be compared"):
        compare(good, boxes, shapes)


def test_pictures_that_are_not_annotated_do_not_count(shapes: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    oracle, first = Oracle(shapes.labels, shapes.labels), shapes.records[0]
    loose = tuple(replace(first, id=f"loose{number}", truth=NotAnnotated()) for number in range(2))
    mixed = replace(shapes, records=(loose[0], *shapes.records, loose[1]))
    expected, found = evaluate(oracle, shapes), evaluate(oracle, mixed)
    assert (found.pictures, found.scores.to_json()) == (8, expected.scores.to_json())
    assert caplog.messages == ["2 pictures are not annotated, and left out"]
    with pytest.raises(DataError, match="no picture to evaluate on"):
        evaluate(oracle, replace(shapes, records=loose))


def test_that_not_every_class_was_looked_for_is_said(shapes: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    noted = (Issue("federated", "LVIS", severity="warning"), Issue("other", "not this", severity="warning"))
    evaluate(Oracle(shapes.labels, shapes.labels), replace(shapes, issues=noted))
    assert caplog.messages == ["LVIS"]
