"""Objects on pictures: what changes, what stays, and how little memory it takes."""

from __future__ import annotations

import colorsys
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.viz.draw import displayable, draw_instances
from everymask.viz.palette import class_colours, object_colours

TWO = Labels(("cell", "dust"), ((200, 40, 30), (20, 60, 220)))
ONE = Labels(("cell",))


def objects(size: tuple[int, int], *squares: tuple[int, int, int], scored: bool = True) -> InstanceSet:
    """Squares (x, y, side); every second is of class 1."""
    crops = [np.ones((side, side), bool) for _, _, side in squares]
    masks = Masks.from_crops(crops, np.array([(x, y) for x, y, _ in squares]).reshape(-1, 2), size)
    count = len(squares)
    scores = np.linspace(0.9, 0.3, count).astype(np.float32) if scored else None
    return InstanceSet(masks.boxes(), np.arange(count) % 2, scores, masks)


def near(inside: np.ndarray, reach: int) -> np.ndarray:
    """Pixels at most `reach` from one that is inside."""
    return cv2.dilate(inside.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0


def hue(colour: np.ndarray | tuple[int, ...]) -> float:
    return colorsys.rgb_to_hls(*(int(c) / 255 for c in colour))[0]


def test_masks_are_filled_lightly_and_outlined_in_the_colour_of_their_class() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    found = objects((60, 80), (10, 20, 25))
    drawn = draw_instances(image, found, TWO, alpha=0.45, names=False)
    inside = found.masks.to_dense(0)
    np.testing.assert_array_equal(drawn[~near(inside, 3)], image[~near(inside, 3)])
    np.testing.assert_array_equal(drawn[32, 22], np.round(100 * 0.55 + np.array(TWO.colours[0]) * 0.45))
    for y, x in ((20, 22), (44, 22), (32, 10), (32, 34)):
        np.testing.assert_allclose(drawn[y, x], TWO.colours[0], atol=15)
    assert (drawn[inside] != image[inside]).any(axis=1).all()
    assert (image == 100).all()


def test_an_outline_is_seen_on_a_ground_of_its_own_colour() -> None:
    image = np.full((60, 80, 3), TWO.colours[0], np.uint8)
    drawn = draw_instances(image, objects((60, 80), (10, 20, 25)), TWO, names=False)
    assert drawn[18:20, 22].astype(int).sum(axis=1).min() < 0.7 * sum(TWO.colours[0])


def test_only_objects_without_a_mask_are_boxed() -> None:
    disc = cv2.circle(np.zeros((41, 41), np.uint8), (20, 20), 20, 1, -1) > 0
    masks = Masks.from_crops([disc, np.zeros((1, 1), bool)], np.array([[5, 5], [0, 0]]), (90, 90))
    boxes = np.array([[5, 5, 46, 46], [60, 60, 80, 85]], np.float32)
    drawn = draw_instances(
        np.zeros((90, 90, 3), np.uint8), InstanceSet(boxes, np.array([0, 1]), None, masks), TWO, names=False
    )
    assert not drawn[5:9, 5:9].any(), "no box around a mask"
    np.testing.assert_array_equal(drawn[60, 60:80], np.tile(TWO.colours[1], (20, 1)))


def test_truth_and_prediction_have_the_hue_of_their_class() -> None:
    grid = [(x, y, 10) for y in range(0, 50, 10) for x in range(0, 50, 10)]
    truth = objects((50, 50), *grid)
    other = truth[np.random.default_rng(0).permutation(25)]
    for labels, found in ((TWO, truth), (TWO, other), (ONE, replace(truth, class_ids=np.zeros(25, np.int64)))):
        fills, lines = class_colours(found, labels), object_colours(found, labels)
        for class_id, fill, line in zip(found.class_ids, fills, lines, strict=True):
            assert tuple(fill) == labels.colours[class_id]
            assert hue(line) == pytest.approx(hue(labels.colours[class_id]), abs=0.02)


def test_crowds_are_striped() -> None:
    found = replace(objects((90, 90), (10, 10, 70), scored=False), crowd=np.array([True]))
    drawn = draw_instances(np.full((90, 90, 3), 100, np.uint8), found, TWO, names=False)[20:70, 20:70]
    bare = (drawn == 100).all(axis=-1).mean()
    assert 0.3 < bare < 0.7


def test_a_small_picture_is_enlarged_before_it_is_drawn_on() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 64, 3)).astype(np.uint8)
    found = objects((32, 64), (8, 8, 16))
    drawn = draw_instances(image, found, TWO, side=320, names=False)
    assert drawn.shape == (160, 320, 3)
    plain = draw_instances(image, found[:0], TWO, side=320)
    changed = (drawn != plain).any(axis=-1)
    assert changed[42:118, 42:118].mean() > 0.99
    assert not changed[:36].any() and not changed[:, 124:].any()


def test_a_large_picture_is_shrunk_before_it_is_drawn_on() -> None:
    image = np.zeros((800, 1000, 3), np.uint8)
    drawn = draw_instances(image, objects((800, 1000), (100, 100, 400)), TWO, side=200, names=False)
    assert drawn.shape == (160, 200, 3)
    np.testing.assert_allclose(drawn[60, 20], TWO.colours[0], atol=30)


def test_a_hole_in_a_mask_is_not_filled() -> None:
    ring = np.ones((25, 25), bool)
    ring[8:17, 8:17] = False
    masks = Masks.from_crops([ring], np.array([[5, 5]]), (40, 40))
    drawn = draw_instances(
        np.zeros((40, 40, 3), np.uint8), InstanceSet(masks.boxes(), np.zeros(1, int), None, masks), TWO
    )
    assert not drawn[15:20, 15:20].any()
    assert drawn[6, 6].any()


def test_small_objects_lie_on_large_ones() -> None:
    found = objects((60, 60), (20, 20, 6), (5, 5, 50))
    drawn = draw_instances(np.zeros((60, 60, 3), np.uint8), found, TWO, alpha=1.0, names=False)
    np.testing.assert_array_equal(drawn[22, 22], TWO.colours[0])
    np.testing.assert_array_equal(drawn[50, 50], TWO.colours[1])


def test_objects_below_the_least_score_are_left_out() -> None:
    found = objects((60, 60), (0, 0, 10), (30, 30, 10))
    drawn = draw_instances(np.zeros((60, 60, 3), np.uint8), found, TWO, min_score=0.5)
    assert drawn[:10, :10].any()
    assert not drawn[30:40, 30:40].any()


def test_objects_without_masks_are_drawn_as_boxes() -> None:
    found = InstanceSet(np.array([[10, 12, 30, 40]], np.float32), np.array([1]))
    drawn = draw_instances(np.zeros((50, 50, 3), np.uint8), found, TWO, names=False)
    np.testing.assert_array_equal(drawn[12, 10:30], np.tile(TWO.colours[1], (20, 1)))
    assert not drawn[13:39, 11:29].any()


def test_neighbours_of_one_class_differ_in_the_tone_of_their_outlines() -> None:
    grid = [(x, y, 10) for y in range(0, 50, 10) for x in range(0, 50, 10)]
    for labels in (ONE, TWO):
        found = replace(objects((50, 50), *grid), class_ids=np.zeros(25, np.int64))
        lines = object_colours(found, labels).astype(int).reshape(5, 5, 3)
        assert np.abs(np.diff(lines, axis=0)).sum(-1).min() > 30
        assert np.abs(np.diff(lines, axis=1)).sum(-1).min() > 30


def test_masks_of_another_picture_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(60, 60\).*\(50, 60\)"):
        draw_instances(np.zeros((50, 60, 3), np.uint8), objects((60, 60), (0, 0, 5)), TWO)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(np.array([[0, 200]], np.uint8), [[0, 200]], id="grey"),
        pytest.param(np.array([[0, 65_535]], np.uint16), [[0, 255]], id="A24 16 bit"),
        pytest.param(np.array([[0.0, 1.0]], np.float32), [[0, 255]], id="float"),
        pytest.param(np.array([[-3.0, np.nan, 7.0]], np.float32), [[0, 0, 255]], id="A25 nan"),
        pytest.param(np.full((2, 2), 900, np.uint16), np.zeros((2, 2)), id="constant"),
        pytest.param(np.array([[False, True]]), [[0, 255]], id="A30 1 bit"),
    ],
)
def test_one_channel_of_any_kind_becomes_grey(image: np.ndarray, expected: np.ndarray) -> None:
    for shaped in (image, image[..., None]):
        shown = displayable(shaped)
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, np.repeat(np.asarray(expected)[..., None], 3, axis=2))


@pytest.mark.parametrize("channels", [2, 3, 4, 13])
def test_any_number_of_channels_can_be_shown(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 9, channels)).astype(np.uint8)
    expected = image[..., :3] if channels >= 3 else np.repeat(image[..., :1], 3, axis=2)
    np.testing.assert_array_equal(displayable(image), expected)
    assert draw_instances(image.astype(np.uint16) * 17, objects((8, 9), (1, 1, 3)), TWO).shape == (8, 9, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)], ids=lambda size: f"A16 {size}")
def test_tiny_pictures_are_drawn(size: tuple[int, int]) -> None:
    found = objects(size, (0, 0, 1))
    assert draw_instances(np.zeros((*size, 3), np.uint8), found, TWO).shape == (*size, 3)


def test_no_objects_leave_the_picture_as_it_is() -> None:
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    for labels in (ONE, TWO):
        drawn = draw_instances(image, InstanceSet.empty((20, 30), scored=True), labels)
        np.testing.assert_array_equal(drawn, image)
        assert drawn is not image


def test_three_hundred_objects_on_twelve_megapixels_take_little_memory() -> None:
    places = [(131 * k % 3800, 97 * k % 2800, 100 + k % 90) for k in range(299)]
    found = objects((3000, 4000), *places, (0, 0, 3000))
    image = np.zeros((3000, 4000, 3), np.uint8)
    tracemalloc.start()
    try:
        draw_instances(image, found, TWO)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6


def test_real_nuclei(shared: Path) -> None:
    data = json.loads((shared / "nuclei" / "val.json").read_text("utf-8"))
    record = data["images"][0]
    counts = [a["segmentation"]["counts"] for a in data["annotations"] if a["image_id"] == record["id"]]
    image = np.asarray(Image.open(shared / "nuclei" / "val" / record["file_name"]))
    masks = Masks.from_rle(counts, image.shape[:2])
    found = InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), None, masks)
    drawn = draw_instances(image, found, ONE, names=False)
    inside = np.any([masks.to_dense(row) for row in range(len(masks))], axis=0)
    outside = ~near(inside, 3)
    np.testing.assert_array_equal(drawn[outside], image[..., :3][outside])
    assert (drawn[inside] != image[..., :3][inside]).any(-1).mean() > 0.99
