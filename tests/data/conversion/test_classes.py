"""Classes renamed, joined and left out, of objects, label maps and maps painted of objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.segmentation import Segment
from everymask.data.conversion.classes import change_classes, pictures_by_class
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import PanopticFile
from everymask.errors import ConfigError
from tests.contracts.test_formats import make_fake
from tests.data.semantic_files import make_semantic


@pytest.fixture
def cells(tmp_path):
    made = make_fake(tmp_path)
    return replace(made, labels=labels_of(["cell", "Öl drop"]))


def names(dataset):
    return [dataset.labels.names[a.class_id] for record in dataset.records for a in record.objects.annotations]


def test_objects_get_their_new_names(cells):
    changed = change_classes(cells, {"cell": "nucleus"})
    assert changed.labels.names == ("nucleus", "Öl drop") and changed.labels.colours == cells.labels.colours
    assert names(changed) == [name.replace("cell", "nucleus") for name in names(cells)]


def test_two_classes_become_one_and_two_swap(cells):
    joined = change_classes(cells, {"Öl drop": "cell"})
    assert joined.labels.names == ("cell",) and set(names(joined)) == {"cell"} and len(names(joined)) == 11
    swapped = change_classes(cells, {"cell": "Öl drop", "Öl drop": "cell"})
    other = {"cell": "Öl drop", "Öl drop": "cell"}
    assert names(swapped) == [other[name] for name in names(cells)]


def test_objects_of_a_class_that_is_left_out_are_gone(cells):
    kept = change_classes(cells, {"cell": ""})
    assert kept.labels.names == ("Öl drop",)
    assert len(names(kept)) == names(cells).count("Öl drop") > 0
    assert len(kept) == len(cells)


def test_label_maps_lose_the_truth_of_a_class_that_is_left_out(tmp_path):
    made = make_semantic(tmp_path, labels_of(["sky", "water", "land"]))
    changed = change_classes(made, {"water": "", "land": "ground"})
    assert changed.labels.names == ("sky", "ground")
    for row, record in enumerate(made.records):
        before, after = made.label_map(row).ids, changed.label_map(row).ids
        assert (after == np.choose(np.minimum(before, 3), [0, 255, 1, 255])).all()
        assert changed.records[row].truth.pixels == ((after == 0).sum(), (after == 1).sum())
        assert record.truth.file == changed.records[row].truth.file


def test_painted_maps_are_painted_with_the_new_classes(cells):
    painted = cells.semantic()
    changed = change_classes(painted, {"cell": "", "background": "rest"})
    assert changed.labels.names == ("rest", "Öl drop")
    expected = change_classes(cells, {"cell": ""}).semantic()
    for row in range(len(cells)):
        assert (changed.label_map(row).ids == expected.label_map(row).ids).all()
    with pytest.raises(ConfigError, match="background is what label maps hold where no object is"):
        change_classes(painted, {"background": ""})


def test_a_mistyped_class_names_the_nearest_and_all(cells):
    with pytest.raises(ConfigError, match=r"one of cell, Öl drop, but got 'cel'\n    did you mean cell"):
        change_classes(cells, {"cel": "x"})


def test_something_must_be_left(cells):
    with pytest.raises(ConfigError, match=r"all classes of .* are left out"):
        change_classes(cells, {"cell": "", "Öl drop": ""})


def test_panoptic_data_are_refused(cells, tmp_path):
    truth = PanopticFile(tmp_path / "a.png", (Segment(1, 0),))
    records = tuple(replace(record, truth=truth) for record in cells.records)
    with pytest.raises(ConfigError, match="cannot be given other classes yet"):
        change_classes(replace(cells, records=records, coding=PanopticCoding()), {"cell": "x"})


def test_pictures_are_counted_by_class_and_split(cells):
    found = pictures_by_class(cells)
    assert list(found["cell"]) == ["train", "val"]
    assert sum(found["Öl drop"].values()) == 3  # one of four is empty
    painted = pictures_by_class(cells.semantic())
    assert painted["cell"] == found["cell"] and sum(painted["background"].values()) == 4
