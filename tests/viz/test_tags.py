"""Tags: where they stand, and what they must not hide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.viz.palette import object_colours
from everymask.viz.tags import LARGE, Tag, place_tags

TWO = Labels(("cell", "dust"), ((200, 40, 30), (20, 60, 220)))
ONE = Labels(("cell",))
SIZE = (300, 400)


def objects(size: tuple[int, int], *windows: tuple[int, int, int, int]) -> InstanceSet:
    """Rectangles (x, y, width, height), the first the surest; every second is of class 1."""
    crops = [np.ones((height, width), bool) for _, _, width, height in windows]
    masks = Masks.from_crops(crops, np.array([window[:2] for window in windows]).reshape(-1, 2), size)
    count = len(windows)
    return InstanceSet(masks.boxes(), np.arange(count) % 2, np.linspace(0.99, 0.5, count).astype(np.float32), masks)


def scattered(seed: int, count: int) -> InstanceSet:
    """Rectangles of 8 to 150 pixels a side anywhere."""
    draw = np.random.default_rng(seed)
    sides = draw.integers(8, 150, (count, 2))
    corners = (draw.uniform(size=(count, 2)) * (np.array(SIZE[::-1]) - sides)).astype(int)
    return objects(SIZE, *np.concatenate([corners, sides], axis=1).tolist())


def crop_for(found: InstanceSet) -> list[tuple[int, int]]:
    """The height and width of each mask."""
    return [found.masks.crop(row).shape for row in range(len(found))]


def placed(found: InstanceSet, labels: Labels = TWO, size: tuple[int, int] = SIZE) -> list[Tag]:
    return place_tags(size, found, labels, object_colours(found, labels))


def covered(tag: Tag) -> tuple[slice, slice]:
    return slice(tag.y, tag.y + tag.picture.shape[0]), slice(tag.x, tag.x + tag.picture.shape[1])


@pytest.mark.parametrize("boxes_only", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_tags_lie_in_the_picture_on_no_other_tag_and_on_no_small_object(seed: int, boxes_only: bool) -> None:
    found = scattered(seed, 6 + 5 * seed)
    masks, areas = found.masks, found.masks.areas()
    tags = placed(replace(found, masks=None) if boxes_only else found)
    assert tags
    largest = max(tag.picture.shape[0] * tag.picture.shape[1] for tag in tags)
    taken = np.zeros(SIZE, int)
    for tag in tags:
        window = covered(tag)
        assert taken[window].shape == tag.picture.shape[:2], "inside the picture"
        taken[window] += 1
        for row in np.flatnonzero(areas < LARGE * largest).tolist():
            assert not masks.to_dense(row)[window].any()
    assert taken.max() == 1


def test_a_tag_touches_its_object_and_not_only_its_box() -> None:
    for seed in range(8):
        found = scattered(seed, 20)
        bands = [np.abs(np.subtract.outer(np.arange(h) / h, np.arange(w) / w)) < 0.15 for h, w in crop_for(found)]
        masks = Masks.from_crops(bands, found.masks.windows[:, :2], SIZE)
        for tag in placed(replace(found, masks=masks)):
            y, x = np.nonzero(masks.to_dense(tag.row))
            down, across = covered(tag)
            aside = np.maximum(across.start - x, x + 1 - across.stop)
            below = np.maximum(down.start - y, y + 1 - down.stop)
            assert np.maximum(aside, below).min() <= 6, "less than two cells lie between"


def test_a_tag_stands_above_its_object_where_that_is_free() -> None:
    (tag,) = placed(objects(SIZE, (150, 100, 60, 60)))
    assert tag.y + tag.picture.shape[0] <= 100
    assert abs(tag.x + tag.picture.shape[1] / 2 - 180) <= 4


def test_an_object_that_fills_the_picture_bears_its_tag() -> None:
    found = objects(SIZE, (0, 0, 400, 300), (200, 150, 30, 30))
    assert {tag.row for tag in placed(found)} == {0, 1}


def test_an_object_without_room_for_a_tag_has_none_and_the_surest_chooses_first() -> None:
    rows = [(x, y, 24, 24) for y in range(0, 300, 25) for x in range(0, 400, 25)]
    assert placed(objects(SIZE, *rows)) == []
    apart = [(10 + 27 * k, 140, 25, 25) for k in range(14)]
    tags = placed(objects(SIZE, *apart))
    assert 0 < len(tags) < 14
    assert tags[0].row == 0


def test_a_set_of_one_class_is_tagged_with_scores_only() -> None:
    found = replace(objects(SIZE, (150, 100, 60, 60)), class_ids=np.zeros(1, np.int64))
    (score,), (named,) = placed(found, ONE), placed(found)
    assert score.picture.shape[1] < named.picture.shape[1]
    assert placed(replace(found, scores=None), ONE) == []


def test_many_small_objects_of_one_class_bear_no_tags() -> None:
    rows = [(20 * k, 20, 12, 12) for k in range(10)] + [(150, 100, 60, 60)]
    assert placed(replace(objects(SIZE, *rows), class_ids=np.zeros(11, np.int64)), ONE) == []


def test_small_pictures_bear_no_tags() -> None:
    assert placed(objects((60, 60), (10, 20, 30, 30)), size=(60, 60)) == []


@pytest.mark.parametrize("corner", [(0, 0), (150, 0), (0, 110), (150, 110)])
def test_objects_in_corners_are_tagged(corner: tuple[int, int]) -> None:
    labels = Labels(("a rather long name for a class", "b"))
    (tag,) = placed(objects((160, 200), (*corner, 50, 50)), labels, size=(160, 200))
    assert tag.picture.shape[1] <= 200
