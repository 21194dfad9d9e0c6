"""What is known of objects stays with them when some are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet

THREE = InstanceSet(
    boxes=np.zeros((3, 4), np.float32),
    class_ids=np.array([2, 0, 1]),
    scores=np.array([0.5, 0.9, 0.1], np.float32),
    masks=Masks.from_dense(np.eye(3, dtype=bool)[:, None]),
    ids=np.array([7, 8, 9]),
    crowd=np.array([False, True, False]),
    areas=np.array([1.5, 20.0, 300.0]),
)


@pytest.mark.parametrize("which", [np.array([False, True, True]), [1, 2], slice(1, None), np.array([1, 2])])
def test_every_column_goes_along_with_the_chosen_objects(which) -> None:
    found = THREE[which]
    assert found.areas is not None and found.areas.tolist() == [20.0, 300.0]
    assert (found.class_ids.tolist(), found.ids.tolist(), found.crowd.tolist()) == ([0, 1], [8, 9], [True, False])
    assert found.masks.to_rle() == THREE.masks.to_rle()[1:]


def test_what_is_not_known_stays_unknown_and_one_object_is_a_set() -> None:
    assert replace(THREE, areas=None)[[0]].areas is None
    assert THREE[2].areas.tolist() == [300.0]


@pytest.mark.parametrize("column", ["scores", "ids", "crowd", "areas"])
def test_a_column_of_another_length_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match=f"{column} must have 3 rows like class_ids, but got 2"):
        replace(THREE, **{column: np.zeros(2)})
