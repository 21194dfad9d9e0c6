"""What every task promises: the seam through which all else learns what differs between tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from everymask.core.labels import labels_of, map_classes
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import (
    ChangeMap,
    InstanceSet,
    PanopticMap,
    Segment,
    Segmentation,
    SemanticMap,
    TaskName,
)
from everymask.data.formats.coco.panoptic_writing import write_coco_panoptic, write_segments
from everymask.data.formats.table import FORMATS, read_dataset
from everymask.data.panoptic import PanopticCoding
from everymask.data.pictures.read import write_image
from everymask.data.records import PanopticFile
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError
from everymask.metrics.comparison import compare_scores
from everymask.metrics.scores import Scores
from everymask.models.specs.any_spec import FAMILIES, KINDS, Architecture
from everymask.models.specs.named import network
from everymask.settings.config import TrainConfig
from everymask.tasks.table import task_named, task_of
from everymask.tasks.task import OPTIONS, Drawing, Judging, Task, Writing

LABELS = labels_of(["cat", "dog", "cow"])
SIZE = (40, 50)
NAMES: tuple[TaskName, ...] = get_args(TaskName)


def planes_of(seed: int) -> Any:
    """A dog at the left, a cat at the right, moved by `seed` pixels."""
    planes = np.zeros((2, *SIZE), bool)
    planes[0, 5:20, 3 + seed : 18 + seed] = planes[1, 10:30, 25 + seed : 40 + seed] = True
    return planes


def some_objects(seed: int) -> InstanceSet:
    masks = Masks.from_dense(planes_of(seed))
    return InstanceSet(masks.boxes().astype(np.float32), np.array([1, 0]), masks=masks)


def some_map(seed: int) -> SemanticMap:
    """The rest is cow."""
    dog, cat = planes_of(seed)
    return SemanticMap(np.where(dog, 1, np.where(cat, 0, 2)).astype(np.uint8))


def some_change(seed: int) -> ChangeMap:
    """A dog has come; the rest is cat, the first class, which stands for what did not change."""
    dog, _ = planes_of(seed)
    return ChangeMap(np.where(dog, 1, 0).astype(np.uint8))


def some_pairs(folder: Path) -> None:
    for number, split in enumerate(("train", "train", "val")):
        truth = some_change(number).ids
        for name, picture in (("A", 0 * truth), ("B", 200 * truth), ("label", 255 * truth)):
            write_image(folder / split / name / f"{number}.png", picture)


def some_shapes(folder: Path) -> None:
    write_shapes(folder, train=2, val=1, size=64)


@dataclass(frozen=True)
class Case:
    """What a task is tried on.

    `truth` shows a dog and is the wronger the larger its number is, from 0 to 8; `shown` are its classes as its rows
    have them; `sure` makes it a prediction; `write` writes a small data set with a split train, into the folder or a
    `place` in it.
    """

    truth: Callable[[int], Segmentation]
    shown: tuple[str, ...]
    sure: Callable[[Any], Segmentation]
    write: Callable[[Path], None] = some_shapes
    place: str = ""


def some_panoptic_map(seed: int) -> PanopticMap:
    """Segments of any numbers; the rest is cow."""
    dog, cat = planes_of(seed)
    ids = np.where(dog, 70_000, np.where(cat, 3, 9)).astype(np.int32)
    return PanopticMap(ids, (Segment(70_000, 1), Segment(3, 0), Segment(9, 2)))


def some_panoptic_files(folder: Path) -> None:
    """Shapes, of which some are stuff."""
    write_shapes(folder / "objects", train=2, val=1, size=64)
    objects = read_dataset(folder / "objects")
    records = []
    for row, record in enumerate(objects.records):
        truth = objects.objects(row)
        found = PanopticMap(truth.to_ids(), tuple(Segment(k + 1, c) for k, c in enumerate(truth.class_ids.tolist())))
        write_segments(folder / "maps" / f"{record.id}.png", found, "")
        there = set(np.unique(found.ids).tolist())
        segments = tuple(one for one in found.segments if one.id in there)
        records.append(replace(record, truth=PanopticFile(folder / "maps" / f"{record.id}.png", segments)))
    labels = replace(objects.labels, things=frozenset({0, 1}))
    made = replace(objects, labels=labels, records=tuple(records), coding=PanopticCoding())
    write_coco_panoptic(folder / "panoptic", made)


def surely(found: PanopticMap) -> PanopticMap:
    """As networks do: stuff has no score."""
    scored = (replace(one, score=None if one.class_id == 2 else 0.9) for one in found.segments)
    return replace(found, segments=tuple(scored))


CASES: dict[TaskName, Case] = {
    "instance": Case(some_objects, ("dog", "cat"), lambda found: replace(found, scores=np.full(2, 0.9, np.float32))),
    "semantic": Case(
        some_map, ("cow", "cat", "dog"), lambda found: replace(found, scores=np.full(SIZE, 0.9, np.float32))
    ),
    "panoptic": Case(some_panoptic_map, ("cow", "cat", "dog"), surely, some_panoptic_files, "panoptic"),
    "change": Case(
        some_change, ("cat", "dog"), lambda found: replace(found, scores=np.full(SIZE, 0.9, np.float32)), some_pairs
    ),
}


def truth_of(task: Task[Any], seed: int = 0) -> Segmentation:
    return CASES[task.name].truth(seed)


def scored(task: Task[Any], seed: int = 0) -> Segmentation:
    """The same as a prediction that is sure of itself."""
    return CASES[task.name].sure(truth_of(task, seed))


def sample(name: str, truth: Segmentation | None = None) -> Sample:
    return Sample(np.full((*SIZE, 3), 90, np.uint8), truth, name)


def scores_of(task: Task[Any], shift: int, pictures: int = 4) -> dict[str, Scores]:
    """Scores of predictions that lie `shift` pixels beside the truth, a little more from picture to picture."""
    metrics = task.metrics(LABELS, task.network(True)[0], Judging(calibration=True))
    for index in range(pictures):
        one = sample(f"{index}", truth_of(task))
        for metric in metrics.values():
            metric.update(scored(task, shift and shift + index), task.truth_of(one), one)
    return {name: metric.compute() for name, metric in metrics.items()}


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task[Any]:
    return task_named(request.param)


def test_specs_truths_and_names_lead_to_one_task(task: Task[Any]) -> None:
    assert task_named(task.name) is task
    assert task_of(truth_of(task)) is task
    assert all(task_of(task.network(gpu)[0]) is task for gpu in (True, False))
    assert isinstance(truth_of(task), task.truth)


def test_every_task_is_tried() -> None:
    assert CASES.keys() == {*NAMES}


def test_every_network_has_a_task() -> None:
    assert {task_of(cls()).name for cls in KINDS.values()} == {*NAMES}


def test_every_task_has_a_named_network_and_a_format() -> None:
    names = [name for group in get_args(Architecture) for name in get_args(group)]
    assert {task_of(network(name)).name for name in names} == {*NAMES}
    assert names == [name for family in FAMILIES for name in family.named]
    assert {known.task for known in FORMATS} == {*NAMES}


def test_a_data_set_belongs_to_the_task_it_is_read_for(task: Task[Any], tmp_path: Path) -> None:
    CASES[task.name].write(tmp_path)
    dataset = read_dataset(tmp_path / CASES[task.name].place).for_task(task.name)
    assert task_of(dataset) is task
    assert isinstance(dataset.truth(0), task.truth)
    shown = task.shown(dataset)
    assert shown is None or shown <= set(range(len(dataset.labels)))
    assert set(task.counts(dataset)) <= set(dataset.labels.names)


def test_settings_of_a_task_are_settings_of_a_training(task: Task[Any]) -> None:
    own, all_ = ({column.name for column in fields(kind)} for kind in (task.settings, TrainConfig))
    assert own <= all_
    # What changed is learned as a class of pixels is: its settings are those, and derive from them.
    others = [task_named(name).settings for name in NAMES]
    apart = [kind for kind in others if not issubclass(kind, task.settings) and not issubclass(task.settings, kind)]
    assert all(not own & {column.name for column in fields(kind)} for kind in apart)
    assert len(apart) >= len({kind.pixel_loss is None for kind in others}) - 1


def test_truth_of_another_kind_is_refused(task: Task[Any]) -> None:
    assert task.truth_of(sample("a", truth_of(task))) is not None
    with pytest.raises(DataError, match=f"a: expected {task.truth.noun} as truth, but got nothing"):
        task.truth_of(sample("a"))
    for other in (task_named(name) for name in NAMES):
        if issubclass(other.truth, task.truth):
            continue  # its own, or one that is of this kind too: what changed is a label map
        with pytest.raises(DataError, match=f"but got {other.truth.noun}"):
            task.truth_of(sample("a", truth_of(other)))


def test_an_option_of_another_task_is_refused(task: Task[Any]) -> None:
    assert task.options <= OPTIONS.keys()
    for option in task.options:
        task.refuse(option)
    for option in OPTIONS.keys() - task.options:
        with pytest.raises(ConfigError, match=f"{OPTIONS[option]}, but this model {task.finds}"):
            task.refuse(option)


def test_every_option_belongs_to_a_task() -> None:
    assert set().union(*(task_named(name).options for name in NAMES)) == OPTIONS.keys()


def test_the_face_of_truth_and_prediction(task: Task[Any]) -> None:
    truth = truth_of(task)
    assert truth.size == truth.to_ids().shape == SIZE
    assert tuple(row.name for row in truth.rows(LABELS)) == CASES[task.name].shown
    wider = labels_of(["mouse", "cow", "cat", "dog"])
    moved = truth.relabelled(map_classes(LABELS, wider))
    assert sorted(row.name for row in moved.rows(wider)) == sorted(row.name for row in truth.rows(LABELS))
    with pytest.raises(DataError, match="does not know: dog"):
        map_classes(LABELS, labels_of(["cat", "cow"]))


def test_ignored_pixels_stay_ignored_between_labels() -> None:
    truth = SemanticMap(np.array([[0, 1, 255]], np.uint8))
    other = replace(labels_of(["dog", "cat", "cow"]), ignore=77)
    assert truth.relabelled(map_classes(LABELS, other)).ids.tolist() == [[1, 0, 77]]


def test_scores_have_one_face(task: Task[Any]) -> None:
    for scores in scores_of(task, shift=2).values():
        numbers = scores.numbers()
        assert numbers[scores.headline_name] == scores.headline
        assert 0 < scores.headline < 1
        assert set(scores.brief) <= set(numbers)
        assert [headline.name for headline in scores.headlines()]
        assert scores.sentence("4 pictures").endswith(("4 pictures", "each"))
        assert all(len(row) == len(table.columns) for table in scores.tables() for row in table.rows)
        classes = scores.classes()
        assert classes is None or all(len(row.scores) == len(classes.scores) for row in classes.rows)
        mistakes = scores.mistakes()
        assert mistakes is None or mistakes.counts.shape == (len(mistakes.names),) * 2
        assert isinstance(scores.to_json(), dict)


def test_the_main_scores_tell_pictures_apart_and_compare(task: Task[Any]) -> None:
    good, poor = (next(iter(scores_of(task, shift, pictures=6).values())) for shift in (1, 5))
    assert [row.id for row in good.by_picture()] == list("012345") and good.num_pictures == 6
    pairs = list(zip(good.by_picture(), poor.by_picture(), strict=True))
    assert all(row.caption and row.score >= other.score for row, other in pairs)
    np.testing.assert_array_equal(good.resampled(5, seed=1), good.resampled(5, seed=1))
    found = compare_scores(poor, good)
    assert (found.name, found.first, found.second) == (good.headline_name, poor.headline, good.headline)
    assert found.low > 0 and found.p_value < 0.05
    with pytest.raises(DataError, match="only scores on the same pictures"):
        compare_scores(good, next(iter(scores_of(task, 1, pictures=3).values())))
    for other in (task_named(name) for name in NAMES):
        if issubclass(other.truth, task.truth):
            continue  # its own, or one that is of this kind too: what changed is a label map
        with pytest.raises(ConfigError):
            compare_scores(good, next(iter(scores_of(other, 1).values())))


def test_what_was_found_is_drawn_written_and_said(task: Task[Any], tmp_path: Path) -> None:
    found = scored(task)
    drawn = task.draw(sample("a").image, found, LABELS, Drawing(names=False))
    assert drawn.shape == (*SIZE, 3) and (drawn != 90).any()
    with task.folder(LABELS, Writing(tmp_path / "out")) as folder:
        folder.add(sample("a"), found)
    assert (tmp_path / "out" / "predictions.csv").is_file() and (tmp_path / "out" / "overlays" / "a.png").is_file()
    assert folder.sentence() and folder.answer()
    assert "dog" in task.sentence(found, LABELS)
    assert not set(task.sentence(task.keep_sure(found, 0.95), LABELS)) - set(
        task.sentence(found, LABELS) + "no objects"
    )
