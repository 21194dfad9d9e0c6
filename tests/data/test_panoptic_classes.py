"""Panoptic data where only the classes count: the label map of every picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.segmentation import SemanticMap
from everymask.data.conversion.losses import compare, given_up
from everymask.data.doctor.examine import check
from everymask.data.feed.packed import PackedRecords
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.panoptic import PanopticCoding, PanopticPainting
from everymask.data.records import PanopticFile
from everymask.errors import ConfigError
from everymask.tasks.semantic import SEMANTIC
from everymask.tasks.table import task_of
from tests.data.panoptic_files import LABELS, ids_of, make_panoptic


def test_every_pixel_has_the_class_of_its_segment(tmp_path: Path) -> None:
    flat = make_panoptic(tmp_path).semantic()
    assert (flat.kind, task_of(flat).name, flat.labels.names) == ("label maps", "semantic", LABELS.names)
    assert not flat.labels.things
    for number in range(4):
        ids = ids_of(number)
        wanted = np.select([ids == 7, ids == 300, ids > 300], [0, 1, 2], LABELS.ignore)
        found = flat.truth(number)
        assert isinstance(found, SemanticMap)
        assert found.ids.dtype == np.uint8
        assert np.array_equal(found.ids, wanted)


def test_it_is_written_checked_and_measured_as_label_maps(tmp_path: Path) -> None:
    flat = make_panoptic(tmp_path / "in").semantic()
    write_dataset(tmp_path / "out", flat, "image-masks")
    found = read_dataset(tmp_path / "out")
    assert found.labels.names == LABELS.names
    assert all(np.array_equal(found.label_map(row).ids, flat.label_map(row).ids) for row in range(4))
    assert compare(flat, found).is_whole
    pixels = fingerprint(flat, seed=0).class_shares
    assert pixels == fingerprint(found, seed=0).class_shares
    assert check(flat).shares["car"].keys() == {"train", "val"}


def test_what_it_shows_is_known_without_reading_a_map(tmp_path: Path) -> None:
    assert SEMANTIC.shown(make_panoptic(tmp_path).semantic()) == {0, 1, 2}


def test_its_identity_is_another(tmp_path: Path) -> None:
    whole = make_panoptic(tmp_path)
    flat = whole.semantic()
    assert flat.coding is not None and whole.coding is not None
    assert flat.coding.stored != whole.coding.stored
    assert "classes of segments" in flat.coding.sentence(flat.labels)


def test_its_things_become_objects_and_stuff_is_counted(tmp_path: Path) -> None:
    objects = make_panoptic(tmp_path).for_task("instance")
    assert (objects.kind, objects.labels.names) == ("objects", ("car", "Öl"))
    assert [(issue.code, issue.count) for issue in objects.issues] == [("stuff-left-out", 4)]
    for dataset in (objects, replace(objects, records=PackedRecords(objects.records))):
        for number in range(4):
            found, ids = dataset.objects(number), ids_of(number)
            assert found.class_ids.tolist() == [0, 1] and found.masks is not None and found.crowd is not None
            assert all(np.array_equal(found.masks.to_dense(row), ids == (7, 300)[row]) for row in range(2))
            assert found.crowd.tolist() == [number == 2, False]
    assert check(objects).shares == {} and {"car", "Öl"} == check(objects).classes.keys()


def test_without_things_or_from_a_rule_there_are_no_objects(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path)
    flat = replace(made, labels=replace(made.labels, things=frozenset()))
    with pytest.raises(ConfigError, match="nothing but stuff"):
        flat.for_task("instance")
    painted = replace(made, coding=PanopticCoding(PanopticPainting()))
    with pytest.raises(ConfigError, match="cannot be used where the task is instance"):
        painted.for_task("instance")


def test_what_other_kinds_give_up_is_counted(tmp_path: Path) -> None:
    made = make_panoptic(tmp_path)
    assert not given_up(made) and not given_up(made.semantic())
    assert given_up(made.for_task("instance")).total() == 4
    alike = replace(made, labels=replace(made.labels, things=frozenset({0})))
    records = [
        replace(one, truth=replace(one.truth, segments=tuple(replace(s, class_id=0) for s in one.truth.segments)))
        for one in alike.records
        if isinstance(one.truth, PanopticFile)
    ]
    assert given_up(replace(alike, records=records).semantic()).total() == 3 + 3 + 2 + 3
