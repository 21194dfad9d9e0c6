"""Objects on pictures: what changes, what stays, and how little memory it takes."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.viz.draw import displayable, draw_beside, draw_instances, draw_legend
from everymask.viz.text import readable, write_tag

TWO = Labels(("cell", "dust"), ((200, 40, 30), (20, 60, 220)))
ONE = Labels(("cell",))


def objects(size: tuple[int, int], *squares: tuple[int, int, int], scored: bool = True) -> InstanceSet:
    """Squares (x, y, side); every second is of class 1."""
    crops = [np.ones((side, side), bool) for _, _, side in squares]
    masks = Masks.from_crops(crops, np.array([(x, y) for x, y, _ in squares]).reshape(-1, 2), size)
    count = len(squares)
    scores = np.linspace(0.9, 0.3, count).astype(np.float32) if scored else None
    return InstanceSet(masks.boxes(), np.arange(count) % 2, scores, masks)


def test_mask_pixels_take_the_colour_and_other_pixels_stay() -> None:
    image = np.full((60, 80, 3), 100, np.uint8)
    found = objects((60, 80), (10, 20, 15))
    drawn = draw_instances(image, found, TWO, alpha=0.45, names=False)
    inside = found.masks.to_dense(0)
    np.testing.assert_array_equal(drawn[~inside], image[~inside])
    np.testing.assert_array_equal(drawn[27, 17], np.round(100 * 0.55 + np.array(TWO.colours[0]) * 0.45))
    np.testing.assert_array_equal(drawn[20, 10], TWO.colours[0])
    assert (drawn[inside] != image[inside]).any(axis=1).all()
    assert (image == 100).all()


def test_a_hole_in_a_mask_is_not_filled() -> None:
    ring = np.ones((21, 21), bool)
    ring[8:13, 8:13] = False
    masks = Masks.from_crops([ring], np.array([[5, 5]]), (40, 40))
    drawn = draw_instances(
        np.zeros((40, 40, 3), np.uint8), InstanceSet(masks.boxes(), np.zeros(1, int), None, masks), TWO
    )
    assert not drawn[13:18, 13:18].any()
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


def test_neighbours_of_one_class_differ_in_colour() -> None:
    grid = [(x, y, 10) for y in range(0, 50, 10) for x in range(0, 50, 10)]
    for labels in (ONE, TWO):
        found = objects((50, 50), *grid)
        found = InstanceSet(found.boxes, np.zeros(25, np.int64), None, found.masks)
        centres = draw_instances(np.zeros((50, 50, 3), np.uint8), found, labels, names=False)[5::10, 5::10].astype(int)
        assert np.abs(np.diff(centres, axis=0)).sum(-1).min() > 10
        assert np.abs(np.diff(centres, axis=1)).sum(-1).min() > 10


@pytest.mark.parametrize("corner", [(0, 0), (150, 0), (0, 110), (150, 110)])
def test_tags_stay_in_the_picture_wherever_the_object_is(corner: tuple[int, int]) -> None:
    labels = Labels(("a rather long name for a class of small things", "b"))
    image = np.zeros((160, 200, 3), np.uint8)
    found = objects((160, 200), (*corner, 50))
    with_tags, without = (draw_instances(image, found, labels, names=names) for names in (True, False))
    assert with_tags.shape == image.shape
    assert (with_tags != without).any()


def test_tags_never_cover_each_other() -> None:
    from everymask.viz.draw import _place_tags

    found = objects((200, 300), *[(20 + 7 * k, 30 + 5 * k, 60) for k in range(20)])
    canvas = np.zeros((200, 300, 3), np.uint8)
    tags = _place_tags(canvas, found, TWO, np.zeros((20, 3), np.uint8))
    covered = np.zeros((200, 300), int)
    for (x, y), tag in tags.values():
        covered[y : y + tag.shape[0], x : x + tag.shape[1]] += 1
        assert 0 <= x <= 300 - tag.shape[1]
        assert 0 <= y <= 200 - tag.shape[0]
    assert covered.max() == 1
    assert 0 in tags


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
        draw_instances(image, found, ONE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6


def test_beside_scales_the_right_picture_to_the_left_one() -> None:
    left, right = np.full((100, 60, 3), 10, np.uint8), np.full((50, 60, 3), 20, np.uint8)
    page = draw_beside(left, right, ("truth", "a title that is much too long for so small a picture"))
    assert page.shape[1] == 60 + 2 + 120
    np.testing.assert_array_equal(page[-100:, :60], left)
    assert (page[-100:, -120:] == 20).all()


def test_a_legend_has_the_colours_of_its_classes() -> None:
    page = draw_legend(TWO, [1])
    assert (page == TWO.colours[1]).all(-1).sum() == 18 * 18
    assert not (page == TWO.colours[0]).all(-1).any()
    assert len(draw_legend(TWO)) == 2 * len(page)


def test_tags_are_shortened_to_their_room() -> None:
    wide = write_tag("a very long class name indeed", (0, 0, 0), 16, 1000)
    narrow = write_tag("a very long class name indeed", (0, 0, 0), 16, 60)
    assert 0 < narrow.shape[1] <= 60 < wide.shape[1]
    assert write_tag("name", (0, 0, 0), 16, 5).size == 0


@pytest.mark.parametrize("name", ["Größe", "клетка", "細胞", "\udcff\n", "👾"])
def test_any_name_can_be_written(name: str) -> None:
    text, font = readable(name, 16)
    assert text
    assert "\n" not in text
    assert font.getlength(text) > 0
    assert write_tag(name, (255, 255, 255), 16, 500).size


def test_real_nuclei(shared: Path) -> None:
    data = json.loads((shared / "nuclei" / "val.json").read_text("utf-8"))
    record = data["images"][0]
    counts = [a["segmentation"]["counts"] for a in data["annotations"] if a["image_id"] == record["id"]]
    image = np.asarray(Image.open(shared / "nuclei" / "val" / record["file_name"]))
    masks = Masks.from_rle(counts, image.shape[:2])
    found = InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), None, masks)
    drawn = draw_instances(image, found, ONE, names=False)
    inside = np.any([masks.to_dense(row) for row in range(len(masks))], axis=0)
    np.testing.assert_array_equal(drawn[~inside], image[..., :3][~inside])
    assert (drawn[inside] != image[..., :3][inside]).any(-1).mean() > 0.99
