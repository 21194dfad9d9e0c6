"""Many outlines are drawn at once as each alone would be: a pixel belongs to a ring if its centre lies inside."""

import numpy as np
import pytest

from everymask.core.forms.outlines import Outlines
from everymask.core.masks import Masks
from everymask.data.formats.coco.instances import read_coco

SIZE = (30, 40)


def outlines(objects):
    rings = [np.asarray(ring, float) for rings in objects for ring in rings]
    return Outlines(
        np.concatenate([np.zeros((0, 2)), *rings]),
        np.cumsum([0, *map(len, rings)]),
        np.repeat(np.arange(len(objects)), [len(rings) for rings in objects]).astype(np.int64),
    )


def stars(seed, count=6, rings=2):
    """Ragged, self-crossing rings with corners inside and outside the picture."""
    draw = np.random.default_rng(seed)
    return [[draw.uniform(-15, 50, (draw.integers(3, 9), 2)) for _ in range(rings)] for _ in range(count)]


def filled(ring, size):
    """Whether each pixel's centre is inside, even-odd: how many edges lie to its left."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    crossed = np.zeros(size, int)
    for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if y1 != y2:
            between = (np.minimum(y1, y2) <= y) & (y < np.maximum(y1, y2))
            crossed += between & (x1 + (y - y1) * (x2 - x1) / (y2 - y1) <= x)
    return crossed % 2 == 1


@pytest.mark.parametrize("rings", [1, 2, 3])
def test_pixels_whose_centre_is_inside(rings):
    for seed in range(10):
        objects = stars(seed, rings=rings)
        masks = outlines(objects).draw(SIZE)
        for row, item in enumerate(objects):
            expected = np.any([filled(ring, SIZE) for ring in item], axis=0)
            np.testing.assert_array_equal(masks.to_dense(row), expected)
        np.testing.assert_array_equal(
            masks.boxes(), Masks.from_dense(np.stack([masks.to_dense(k) for k in range(6)])).boxes()
        )


def test_a_rectangle_on_pixel_edges_is_exact():
    box = [[3, 4], [9, 4], [9, 7], [3, 7]]
    masks = outlines([[box], [box[::-1]]]).draw(SIZE)
    assert masks.areas().tolist() == [18, 18]
    assert masks.boxes().tolist() == [[3, 4, 9, 7]] * 2


def test_nothing_and_objects_outside():
    assert len(outlines([]).draw(SIZE)) == 0
    assert outlines([]).boxes().shape == (0, 4)
    assert outlines([]).areas().shape == (0,)
    far = [[50, 50], [60, 50], [60, 60]]
    near = [[1, 1], [5, 1], [5, 5], [1, 5]]
    masks = outlines([[far], [near], [far]]).draw(SIZE)
    assert masks.areas().tolist() == [0, 16, 0]
    assert masks.boxes().tolist() == [[0, 0, 0, 0], [1, 1, 5, 5], [0, 0, 0, 0]]


def test_choosing_objects_is_the_same_as_never_having_had_the_others():
    objects = stars(3, count=7)
    keep = np.array([True, False, False, True, True, False, True])
    some = outlines(objects)[keep]
    expected = outlines([item for item, kept in zip(objects, keep, strict=True) if kept])
    for name in ("points", "starts", "owners"):
        np.testing.assert_array_equal(getattr(some, name), getattr(expected, name))
    assert len(outlines(objects)[np.zeros(7, bool)]) == 0


def test_boxes_areas_and_moving():
    triangle = [[0, 0], [4, 0], [0, 2]]
    square = [[10, 10], [12, 10], [12, 12], [10, 12]]
    drawn = outlines([[triangle, square], [square[::-1]]])
    assert drawn.boxes().tolist() == [[0, 0, 12, 12], [10, 10, 12, 12]]
    assert drawn.areas().tolist() == [8, 4]
    moved = drawn.moved((10, 8), (2, 3))
    assert moved.boxes().tolist() == [[-20, -24, 4, 12], [0, 6, 4, 12]]
    assert moved.areas().tolist() == [48, 24]


def test_real_outlines_differ_from_cocos_rule_in_a_few_border_pixels(shared):
    wrong = total = ours = 0
    for record in read_coco(shared / "coco128_seg").records[:40]:
        rings = [annotation.shape.rings for annotation in record.objects.annotations]
        masks, reference = outlines(rings).draw(record.size), Masks.from_polygons(rings, record.size)
        ours += int(masks.areas().sum())
        total += int(reference.areas().sum())
        wrong += sum(int((masks.to_dense(k) ^ reference.to_dense(k)).sum()) for k in range(len(rings)))
    assert wrong < 0.004 * total
    assert abs(ours / total - 1) < 0.0005
