"""One warp moves pictures and every kind of truth, there and back, alone and composed."""

import numpy as np
import pytest

from everymask.core.geometry import Warp, moved, nearest
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, SemanticMap
from everymask.errors import DataError

SEEDS = range(25)


def scene(seed, size=None):
    """Four overlapping objects, the label map that they paint, and the generator."""
    draw = np.random.default_rng(seed)
    height, width = size or draw.integers(12, 60, 2).tolist()
    dense = np.zeros((4, height, width), bool)
    for mask in dense:
        y, x = draw.integers(0, (height - 5, width - 5))
        tall, wide = draw.integers(3, 25, 2)
        part = mask[y : y + tall, x : x + wide]
        part[:] = draw.random(part.shape) < 0.8
        mask[y + 1, x + 1] = True
    masks = Masks.from_dense(dense)
    objects = InstanceSet(masks.boxes(), np.arange(4), masks=masks, ids=np.arange(4) + 1)
    ids = np.zeros((height, width), np.int64)
    for row in range(4):
        ids[dense[row]] = row + 1
    return objects, ids, draw


def exact(draw, size):
    """A random exact warp of a picture of `size`."""
    kind = draw.integers(4)
    if kind == 0:
        return Warp.flip(size, horizontal=bool(draw.integers(2)), vertical=bool(draw.integers(2)))
    if kind == 1:
        return Warp.turn(size, int(draw.integers(-4, 5)))
    x1, y1 = (int(draw.integers(-8, length)) for length in size[::-1])
    window = (x1, y1, x1 + int(draw.integers(1, 70)), y1 + int(draw.integers(1, 70)))
    return Warp.crop(window) if kind == 2 else Warp.identity(size)


def same_objects(first, second):
    assert first.masks.size == second.masks.size
    assert first.masks.to_rle() == second.masks.to_rle()
    np.testing.assert_array_equal(first.masks.windows, second.masks.windows)
    np.testing.assert_array_equal(first.ids, second.ids)


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_warps_are_what_numpy_does(seed):
    objects, ids, draw = scene(seed)
    height, width = size = ids.shape
    turns, sides = int(draw.integers(0, 4)), draw.integers(0, 2, 2).astype(bool).tolist()
    x1, y1 = int(draw.integers(0, width)), int(draw.integers(0, height))
    cases = [
        (Warp.turn(size, turns), lambda array: np.rot90(array, turns)),
        (
            Warp.flip(size, horizontal=sides[0], vertical=sides[1]),
            lambda array: array[:: -1 if sides[1] else 1, :: -1 if sides[0] else 1],
        ),
        (Warp.crop((x1, y1, width, height)), lambda array: array[y1:, x1:]),
        (Warp.crop((-3, -2, width + 4, height + 1)), lambda array: np.pad(array, ((2, 1), (3, 4)))),
        (Warp.rotate((20, 20), 90.0), None),
    ]
    for warp, expected in cases[:-1]:
        assert warp.is_exact
        np.testing.assert_array_equal(moved(ids, warp), expected(ids))
        np.testing.assert_array_equal(SemanticMap(ids, ignore=0).warped(warp).ids, expected(ids))
        found = objects.warped(warp)
        for row in range(4):
            np.testing.assert_array_equal(found.masks.to_dense(row), expected(objects.masks.to_dense(row)))
        np.testing.assert_array_equal(found.boxes, np.clip(warp.boxes(objects.boxes), 0, (*warp.size[::-1],) * 2))
    assert cases[-1][0].is_exact
    square = ids[:12, :12]
    np.testing.assert_array_equal(moved(square, Warp.rotate((12, 12), -270)), np.rot90(square))


@pytest.mark.parametrize("seed", SEEDS)
def test_one_after_the_other_is_both_at_once(seed):
    """A crop that is followed by a wider one has lost what the wider one shows, so the second stays inside."""
    objects, ids, draw = scene(seed)
    first = exact(draw, ids.shape)
    second = exact(draw, first.size)
    inside = second.boxes(np.array([(0, 0, first.size[1], first.size[0])]))[0]
    if (inside[:2] > 0).any() or (inside[2:] < second.size[::-1]).any():
        second = Warp.turn(first.size, 3)
    both = first.then(second)
    assert both.is_exact and both.size == second.size
    same_objects(objects.warped(first).warped(second), objects.warped(both))
    found = SemanticMap(ids, ignore=9).warped(first).warped(second).ids
    np.testing.assert_array_equal(found, SemanticMap(ids, ignore=9).warped(both).ids)
    table = PanopticMap(ids, tuple(Segment(k + 1, k) for k in range(4)))
    one, other = table.warped(first).warped(second), table.warped(both)
    np.testing.assert_array_equal(one.ids, other.ids)
    assert one.segments == other.segments
    assert {segment.id for segment in one.segments} == set(np.unique(one.ids).tolist()) - {0}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_inverse_brings_everything_back(seed):
    objects, ids, draw = scene(seed)
    warp = exact(draw, ids.shape)
    if not np.isclose(np.prod(warp.size), ids.size):
        margin = int(draw.integers(0, 9))
        warp = Warp.crop((-margin, -1, ids.shape[1] + 2, ids.shape[0] + margin))
    back = warp.inverse(ids.shape)
    assert back.is_exact and back.size == ids.shape
    np.testing.assert_array_equal(moved(moved(ids, warp), back), ids)
    same_objects(objects.warped(warp).warped(back), objects)
    rotated = Warp.rotate(ids.shape, 31.0).then(Warp.scale(ids.shape, (77, 50)))
    points = draw.random((9, 2)) * 40
    np.testing.assert_allclose(rotated.inverse(ids.shape).points(rotated.points(points)), points)


@pytest.mark.parametrize("seed", SEEDS)
def test_label_maps_and_masks_move_together(seed):
    """Any affine warp: each object's mask covers the pixels at which a map of that object alone has it."""
    objects, _, draw = scene(seed, (48, 56))
    blob = np.kron(draw.integers(0, 2, (6, 7)), np.ones((8, 8), int)).astype(bool)
    objects = InstanceSet(objects.boxes[:1], objects.class_ids[:1], masks=Masks.from_dense(blob[None]))
    size = (int(draw.integers(20, 90)), int(draw.integers(20, 90)))
    warp = Warp.rotate((48, 56), draw.uniform(-180, 180)).then(Warp.scale((48, 56), size))
    warp = warp.then(Warp.crop((-5, 3, size[1], size[0] + 4))).then(Warp.flip((size[0] + 1, size[1] + 5)))
    assert not warp.is_exact
    mask = objects.warped(warp).masks.to_dense(0)
    ids = nearest(blob.astype(np.uint8), warp, 0).astype(bool)
    assert mask.shape == warp.size
    # They may differ along the edges, which are crooked by half a pixel of the source.
    assert (mask ^ ids).sum() <= 0.15 * max(ids.sum(), 100)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.7, 3.0])
@pytest.mark.parametrize("masks", [True, False])
def test_boxes_follow_a_scaled_picture(factor, masks):
    objects, ids, _ = scene(2, (40, 60))
    objects = objects if masks else InstanceSet(objects.boxes, objects.class_ids)
    to = (round(40 * factor), round(60 * factor))
    found = objects.warped(Warp.scale(ids.shape, to))
    np.testing.assert_allclose(found.boxes, objects.boxes * factor, rtol=1e-6)
    if masks:
        filled = found.masks.areas() > 0
        assert found.masks.size == to
        assert np.abs(found.masks.boxes() - found.boxes)[filled].max() <= max(1.5, 1.5 * factor)
        same = objects.masks.resize(to)
        assert found.masks.to_rle() == same.to_rle()


def test_a_cut_along_whole_pixels_is_told_from_any_other():
    warp = Warp.crop((10, 20, 50, 40)).then(Warp.scale((20, 40), (30, 50))).then(Warp.turn((30, 50), 1))
    cut = warp.cut((100, 100))
    assert (cut.window, cut.size, cut.rest.size) == ((10, 20, 50, 40), (30, 50), (50, 30))
    assert cut.rest.is_exact
    wide = Warp.scale((10, 20), (15, 30)).then(Warp.crop((-4, 0, 60, 20)))
    assert wide.cut((10, 20)).window == (0, 0, 20, 10)
    assert wide.cut((10, 20)).rest.matrix.tolist() == [[1, 0, 4], [0, 1, 0]]
    assert Warp.rotate((10, 20), 3.0).cut((10, 20)) is None
    assert Warp.scale((10, 20), (15, 30)).then(Warp.crop((1, 0, 30, 15))).cut((10, 20)) is None
    assert Warp.crop((30, 0, 40, 10)).cut((10, 20)) is None


def test_what_is_no_longer_seen_keeps_its_row_and_what_was_never_there_is_ignored():
    objects, ids, _ = scene(1, (30, 30))
    away = Warp.crop((100, 100, 120, 110))
    found = objects.warped(away)
    assert len(found) == 4 and not found.masks.areas().any() and found.masks.size == (10, 20)
    assert (found.boxes[:, 2] - found.boxes[:, 0] == 0).all()
    assert (SemanticMap(ids).warped(away).ids == 255).all()
    assert SemanticMap(ids, np.ones((30, 30), np.float32)).warped(away).scores.max() == 0
    stack = SemanticMap(np.stack((ids, ids.T)))
    np.testing.assert_array_equal(stack.warped(Warp.turn((30, 30), 1)).ids, [np.rot90(ids), np.rot90(ids.T)])


@pytest.mark.parametrize(
    ("matrix", "size"),
    [
        (np.zeros((2, 3)), (3, 3)),
        (np.eye(3), (3, 3)),
        (np.array(((1, 0, np.nan), (0, 1, 0))), (3, 3)),
        (np.eye(2, 3), (0, 3)),
    ],
)
def test_warps_that_cannot_be(matrix, size):
    with pytest.raises(DataError, match="a warp"):
        Warp(matrix, size)
