"""Polygons become COCO's pixels bit for bit, and pixels become rings that give them back."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as reference

from everymask.core.forms.polygons import rings_from_crop, spans_from_rings
from everymask.core.masks import Masks
from everymask.errors import DataError


def assert_coco_pixels(rings: list[np.ndarray], size: tuple[int, int]) -> None:
    expected = reference.merge(reference.frPyObjects([np.ravel(ring).tolist() for ring in rings], *size))
    assert Masks.from_polygons([rings], size).to_rle() == [expected["counts"]], (size, [r.tolist() for r in rings])


@pytest.mark.parametrize("spread", [0.2, 1, 4, 40], ids=lambda s: f"corners within {s} pictures")
@pytest.mark.parametrize("grid", [None, 10, 2, 1], ids=lambda g: f"grid 1/{g}")
def test_random_polygons_are_cocos(spread: float, grid: int | None) -> None:
    rng = np.random.default_rng([int(10 * spread), grid or 0])
    for _ in range(250):
        height, width = (int(side) for side in rng.integers(1, 40, 2))
        ring = ((rng.random((rng.integers(3, 9), 2)) - 0.5) * spread + 0.5) * [width, height]
        assert_coco_pixels([ring if grid is None else np.round(ring * grid) / grid], (height, width))


def test_several_rings_are_their_union() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 40, 2))
        assert_coco_pixels([(rng.random((4, 2)) * 1.4 - 0.2) * [width, height] for _ in range(3)], (height, width))


@pytest.mark.parametrize(
    "ring",
    [
        pytest.param([3, 3, 3, 3, 3, 3], id="C17 one point thrice"),
        pytest.param([1, 1, 8, 1, 4, 1], id="C17 flat line"),
        pytest.param([4, 1, 4, 8, 4, 3], id="C17 upright line"),
        pytest.param([1, 1, 8, 8, 8, 1, 1, 8], id="C17 crosses itself"),
        pytest.param([1, 1, 1, 1, 8, 1, 8, 8, 8, 8], id="C17 repeated corners"),
        pytest.param([-500, -300, 900, -200, 100, 800], id="C17 far outside all round"),
        pytest.param([20, 20, 30, 20, 25, 30], id="C17 nowhere in the picture"),
        pytest.param([0, 0, 10, 0, 10, 12, 0, 12], id="the whole picture"),
        pytest.param([2.5, 2.5, 2.5, 7.5, 7.5, 7.5, 7.5, 2.5], id="corners on pixel centres"),
        pytest.param([0, -7, 10, 6, 3, -8], id="corner on the border"),
    ],
)
def test_special_polygons_are_cocos(ring: list[float]) -> None:
    assert_coco_pixels([np.array(ring)], (12, 10))


def test_a_corner_a_hundred_million_pixels_away_costs_nothing() -> None:
    ring = np.array([[0, 0], [1e8, 0], [1e8, 10], [0, 10]])
    assert Masks.from_polygons([[ring]], (10, 10)).areas().tolist() == [100]


@pytest.mark.parametrize(
    ("ring", "found"),
    [
        pytest.param([1, 1, 5, 5], "got 2", id="C15 two corners"),
        pytest.param([1, 1, 5, 5, 3], r"\[5\]", id="C15 odd length"),
        pytest.param([1, 1, 5, np.nan, 3, 3], "nan", id="C16 nan"),
        pytest.param([1, 1, 5, np.inf, 3, 3], "inf", id="C16 inf"),
        pytest.param([1, 1, 5, -1e9, 3, 3], "-1000000000", id="C16 1e9"),
        pytest.param([[[1, 1], [5, 5], [3, 1]]], r"\[1, 3, 2\]", id="C18 nested too deep"),
        pytest.param([], "got 0", id="C18 empty"),
    ],
)
def test_polygons_that_mean_nothing_are_refused(ring: list[object], found: str) -> None:
    with pytest.raises(DataError, match=found):
        spans_from_rings([np.array(ring, float)], (10, 10))


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.7, 0.97, 1])
def test_traced_rings_give_the_crop_back(density: float) -> None:
    rng = np.random.default_rng(int(100 * density))
    for _ in range(60):
        size = tuple(int(side) for side in rng.integers(1, 25, 2))
        crop = rng.random(size) < density
        parts = rings_from_crop(crop)
        assert np.array_equal(Masks.from_parts([parts], size).to_dense(0), crop)
        assert sum(len(part) for part in parts) == 0 or crop.any()
        # The outer rings alone, less the holes: COCO's union of polygons knows no holes.
        outer = Masks.from_polygons([[part[0] for part in parts]], size).to_dense(0)
        holes = Masks.from_polygons([[hole for part in parts for hole in part[1:]]], size).to_dense(0)
        assert not (crop & ~outer).any() and not (~crop & outer & ~holes).any()


def test_parts_touch_only_at_corners_and_holes_join_there() -> None:
    crop = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
    assert [len(part) for part in rings_from_crop(crop)] == [1, 1, 1]
    solid = np.pad(np.eye(2, dtype=bool), 2, constant_values=True)
    solid[2:4, 2:4] = ~np.eye(2, dtype=bool)
    (part,) = rings_from_crop(solid)
    assert len(part) == 2


def test_rings_are_clockwise_whole_and_without_needless_corners() -> None:
    crop = np.ones((5, 7), bool)
    crop[2, 3] = False
    ((outer, hole),) = rings_from_crop(crop)
    assert outer.tolist() == [[0, 0], [7, 0], [7, 5], [0, 5]]
    assert sorted(hole.tolist()) == [[3, 2], [3, 3], [4, 2], [4, 3]]
    for ring, sign in ((outer, 1), (hole, -1)):
        way = np.roll(ring, -1, axis=0) - ring
        turns = way[:, 0] * np.roll(way, -1, axis=0)[:, 1] - way[:, 1] * np.roll(way, -1, axis=0)[:, 0]
        assert (np.sign(turns) == sign).all()


def test_holes_belong_to_the_part_around_them() -> None:
    crop = np.zeros((20, 30), bool)
    crop[1:19, 1:19] = True
    crop[3:17, 3:17] = False
    crop[5:15, 5:15] = True
    crop[8:10, 8:10] = False
    crop[1:5, 22:28] = True
    parts = rings_from_crop(crop)
    assert sorted(len(part) for part in parts) == [1, 2, 2]
    for part in parts:
        low, high = part[0].min(axis=0), part[0].max(axis=0)
        assert all((hole.min(axis=0) > low).all() and (hole.max(axis=0) < high).all() for hole in part[1:])
    assert rings_from_crop(np.zeros((3, 3), bool)) == []
