"""Made pairs: what changed is what differs, and the same seed draws the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.randomness import rng
from everymask.core.segmentation import ChangeMap
from everymask.data.change.made import ChangesConfig, Material, draw_changes, material_of, write_changes
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError

DRAW = rng(9, "material")
MATERIAL = Material(
    [DRAW.integers(0, 256, (90, 120, 3), np.uint8) for _ in range(3)],
    [(DRAW.integers(0, 256, (40, 50, 3), np.uint8), DRAW.random((40, 50)) < 0.9) for _ in range(4)],
)
STILL = ChangesConfig(10, (64, 64), light=0.0, shift=0)


def test_pairs_differ_where_something_changed_and_hardly_elsewhere() -> None:
    changed = 0
    for index in range(10):
        sample = draw_changes(MATERIAL, STILL, index)
        assert isinstance(sample.truth, ChangeMap) and sample.before is not None
        differs = np.abs(sample.image.astype(int) - sample.before).max(axis=2) > 30
        there = sample.truth.ids == 1
        changed += int(there.sum())
        assert differs[~there].mean() < 0.02
        assert not there.any() or differs[there].mean() > 0.7
    assert 0.02 < changed / (10 * 64 * 64) < 0.5


def test_light_and_shift_change_the_rest_too_and_the_seed_decides() -> None:
    config = replace(STILL, light=0.3, shift=3)
    first, again, other = (draw_changes(MATERIAL, each, 1) for each in (config, config, replace(config, seed=1)))
    np.testing.assert_array_equal(first.stacked, again.stacked)
    assert not np.array_equal(first.stacked, other.stacked)
    assert first.before is not None
    same = first.truth.to_ids() == 0  # type: ignore[union-attr]
    assert (first.image[same] != first.before[same]).mean() > 0.9


def test_a_set_is_written_with_photographs_of_their_own_in_each_split(tmp_path: Path) -> None:
    photographs = write_shapes(tmp_path / "shapes", train=8, val=0, size=128)
    made = write_changes(tmp_path / "made", photographs, train=3, val=2, size=48)
    assert (made.kind, made.splits()) == ("change maps", {"train": 3, "val": 2})
    assert made[0].stacked.shape == (48, 48, 6)
    with pytest.raises(DataError, match="no objects with masks"):
        material_of(replace(photographs.subset([]), records=()))
    with pytest.raises(ConfigError, match="changes need at least"):
        ChangesConfig(max_objects=1)
