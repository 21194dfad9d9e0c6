"""Panoptic data where only the classes count: the label map of every picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everymask.core.segmentation import SemanticMap
from everymask.data.conversion.losses import compare
from everymask.data.doctor.examine import check
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.table import read_dataset, write_dataset
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


def test_objects_it_does_not_become(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used where the task is instance"):
        make_panoptic(tmp_path).for_task("instance")
