"""Panoptic truth made of ordinary annotations: by a rule that is said, and overlaps resolved by one order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels, labels_of
from everymask.data.coding import numbers
from everymask.data.conversion.losses import hidden_by_painting
from everymask.data.dataset import Dataset
from everymask.data.doctor.examine import check
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.panoptic import PanopticRule, rule_of
from everymask.data.records import Annotation, LabelMapFile, Objects, Polygons, Record
from everymask.errors import ConfigError, DataError
from everymask.tasks.table import task_named

NAMES = labels_of(["car", "person", "sky", "road, wet"])
RULE = PanopticRule(("car", "person"), ("sky", "road, wet"))


def box(x1: int, y1: int, x2: int, y2: int) -> Polygons:
    return Polygons((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float),))


def street(folder: Path, *more: Annotation) -> Dataset:
    """Sky in two parts, a road over all of the lower half, a car on it and a person before that, 8 x 12 pixels."""
    image = folder / "a.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)).save(image)
    objects = (
        Annotation(1, box(5, 3, 7, 7), id=11),
        Annotation(2, box(0, 0, 4, 2), id=12),
        Annotation(2, box(8, 0, 12, 2), id=13),
        Annotation(3, box(0, 4, 12, 8), id=14),
        Annotation(0, box(2, 3, 9, 6), id=15),
        *more,
    )
    return Dataset(NAMES, (Record("a", image, (8, 12), Objects(objects)),), "fake", folder)


def test_things_lie_over_stuff_and_smaller_over_larger(tmp_path: Path) -> None:
    made = street(tmp_path).for_task("panoptic", rule=RULE)
    assert (made.kind, made.labels.things, made.labels.names) == ("panoptic", {0, 1}, NAMES.names)
    found = made.panoptic_map(0)
    by_class = {segment.class_id: segment.id for segment in found.segments}
    areas = found.areas()
    assert len(found.segments) == 4, "the two parts of the sky are one segment"
    assert {k: areas[number] for k, number in by_class.items()} == {0: 21 - 6, 1: 8, 2: 16, 3: 48 - 14 - 2}
    assert areas[0] == 96 - 16 - 48 - 7, "what nobody has drawn has no truth"
    assert "things over stuff" in made.coding.sentence(made.labels)


def test_what_is_hidden_is_counted(tmp_path: Path) -> None:
    buried = Annotation(0, box(5, 3, 7, 5), id=16)
    made = street(tmp_path, buried).for_task("panoptic", rule=RULE)
    losses = hidden_by_painting(made)
    assert (losses.compared, losses.exact, losses.reasons.total()) == (3, 1, 2)
    assert (
        len(street(tmp_path, Annotation(0, box(2, 3, 9, 6))).for_task("panoptic", rule=RULE).panoptic_map(0).segments)
        == 4
    )


def test_crowds_and_regions_without_truth(tmp_path: Path) -> None:
    dataset = street(tmp_path, Annotation(1, box(9, 4, 12, 8), crowd=True))
    (record,) = dataset.records
    ignored = replace(record, truth=replace(record.truth, ignored=(box(0, 6, 2, 8),)))
    found = replace(dataset, records=(ignored,)).for_task("panoptic", rule=RULE).panoptic_map(0)
    (crowd,) = (segment for segment in found.segments if segment.crowd)
    assert (crowd.class_id, found.areas()[crowd.id]) == (1, 12)
    assert not found.ids[6:, :2].any()


def test_background_may_be_stuff(tmp_path: Path) -> None:
    made = street(tmp_path).for_task("panoptic", rule=PanopticRule((), ("sky", "road, wet", "background")))
    assert made.labels.names == (*NAMES.names, "background") and made.labels.things == {0, 1}
    found = made.panoptic_map(0)
    assert found.ids.all() and 4 in {segment.class_id for segment in found.segments}


@pytest.mark.parametrize(
    ("rule", "things"),
    [
        (PanopticRule(("car", "person")), {0, 1}),
        (PanopticRule(("car,person",)), {0, 1}),
        (PanopticRule((), ("road, wet", "sky")), {0, 1}),
        (PanopticRule((), ("road, wet",)), {0, 1, 2}),
    ],
)
def test_one_of_the_two_is_enough(tmp_path: Path, rule: PanopticRule, things: set[int]) -> None:
    assert street(tmp_path).for_task("panoptic", rule=rule).labels.things == things


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (None, "do not say what is counted one by one, and the task is panoptic"),
        (PanopticRule(("cat",)), "did you mean"),
        (PanopticRule(("car",), ("car",)), "a thing or stuff, but both has car"),
        (PanopticRule(("car",), ("sky",)), "neither a thing nor stuff: person, road, wet"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(tmp_path: Path, rule: PanopticRule | None, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        street(tmp_path).for_task("panoptic", rule=rule)


def test_a_rule_that_has_no_use_is_refused(tmp_path: Path) -> None:
    made = street(tmp_path).for_task("panoptic", rule=RULE)
    assert made.for_task("panoptic", rule=RULE) is made is made.for_task("panoptic")
    with pytest.raises(ConfigError, match="says itself which classes are things: car, person"):
        made.for_task("panoptic", rule=PanopticRule(("sky",)))
    with pytest.raises(ConfigError, match=r"make panoptic maps, but the task is semantic(.|\n)*leave out --things"):
        street(tmp_path).for_task("semantic", rule=RULE)


def test_what_is_shown_is_known_without_painting(tmp_path: Path) -> None:
    made = street(tmp_path).for_task("panoptic", rule=PanopticRule((), ("sky", "road, wet", "background")))
    assert task_named("panoptic").shown(made) == {0, 1, 2, 3, 4}
    assert task_named("panoptic").counts(made) == {"sky": 2, "person": 1, "road, wet": 1, "car": 1}
    summary = check(made)
    assert summary.task == "panoptic" and summary.objects == 5, "the sky is one segment"
    assert summary.classes["background"] == {"all": 1} and summary.no_truth == 0


def test_boxes_become_no_segments(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="panoptic maps need masks"):
        replace(street(tmp_path), boxes_only=True).for_task("panoptic", rule=RULE)


def test_a_model_says_what_is_a_thing_where_the_data_do_not(tmp_path: Path) -> None:
    model = Labels(("person", "road, wet", "tram"), things=frozenset({0, 2}))
    made = street(tmp_path).for_task("panoptic", rule=rule_of(model))
    assert made.labels.things == {1} and made.labels.names == NAMES.names
    assert rule_of(NAMES) is None


def test_connected_pieces_of_label_maps_are_things(tmp_path: Path) -> None:
    ids = np.zeros((8, 12), np.uint8)
    ids[4:], ids[5:7, 1:3], ids[5:7, 6:9], ids[7, 9] = 1, 2, 2, 2
    ids[0, 0] = 255
    Image.fromarray(ids).save(tmp_path / "map.png")
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(tmp_path / "a.png")
    record = Record("a", tmp_path / "a.png", (8, 12), LabelMapFile(tmp_path / "map.png"))
    coding = numbers(3, "test", void={255})
    dataset = Dataset(labels_of(["sky", "road", "car"]), (record,), "fake", tmp_path, coding=coding)
    found = dataset.for_task("panoptic", rule=PanopticRule(("car",))).panoptic_map(0)
    assert sorted((one.class_id, found.areas()[one.id]) for one in found.segments) == [(0, 47), (1, 37), (2, 4), (2, 7)]
    assert found.ids[0, 0] == 0
    made = dataset.for_task("panoptic", rule=PanopticRule(("car",)))
    assert check(made).classes == {"sky": {"all": 1}, "road": {"all": 1}, "car": {"all": 2}}
    assert task_named("panoptic").shown(made) is None, "the pixels of the label map have not been counted"


def test_it_is_written_as_panoptic(tmp_path: Path) -> None:
    made = street(tmp_path / "in").for_task("panoptic", rule=RULE)
    write_dataset(tmp_path / "out", made, "coco-panoptic")
    found = read_dataset(tmp_path / "out")
    assert found.labels == made.labels and found.issues == ()
    assert np.array_equal(found.panoptic_map(0).ids, made.panoptic_map(0).ids)
    with pytest.raises(ConfigError, match="--things"):
        write_dataset(tmp_path / "other", street(tmp_path / "in"), "coco-panoptic")
