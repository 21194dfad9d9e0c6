"""Image and truth move together: pixels encode the masks, and must still do so after every change."""

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.geometry import Warp, framed
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.data.feed.augment import (
    Augment,
    copy_paste,
    mixup,
    mosaic,
    warped_truth,
)
from everymask.data.feed.looks import as_in_file, blur, colour, noise
from everymask.data.feed.resample import as_stored, warped_picture
from everymask.data.feed.views import View, jitter_view
from everymask.errors import ConfigError, DataError

KINDS = [(1, np.uint8), (3, np.uint8), (3, np.uint16), (4, np.float32), (13, np.uint8), (13, np.float32)]


def coded(seed=0, size=(40, 56), objects=5, channels=3, dtype=np.uint8, masks=True, step=20):
    """A picture on which object k has the value step * (k + 1) wherever its mask says so; later ones lie on top."""
    draw = np.random.default_rng(seed)
    plane = np.zeros(size, dtype)
    for number in range(objects):
        y, x = draw.integers(0, np.array(size) - 12)
        height, width = draw.integers(5, 12, 2)
        blob = np.ones((height, width), bool)
        blob[0, 0] = blob[-1, : width // 2] = False
        plane[y : y + height, x : x + width][blob] = step * (number + 1)
    dense = (
        np.stack([plane == step * (number + 1) for number in range(objects)]) if objects else np.zeros((0, *size), bool)
    )
    drawn = Masks.from_dense(dense)
    kept = drawn.areas() > 0
    truth = InstanceSet(
        boxes=drawn.boxes(),
        class_ids=np.arange(objects),
        masks=drawn if masks else None,
        ids=np.arange(objects) + 1,
        crowd=np.zeros(objects, bool),
    )[kept]
    return Sample(np.repeat(plane[..., None], channels, axis=2), truth, id=f"coded-{seed}", file="coded.png")


def after(sample, warp, fill=None, limits=None):
    """The sample after a warp, picture and truth alike."""
    fill = np.zeros(sample.image.shape[2]) if fill is None else fill
    image, corner = warped_picture(sample.image, warp, "mmdet", fill)
    image = framed(image, corner, warp.size, as_stored(fill, image.dtype))
    truth = None if sample.truth is None else warped_truth(sample.truth, sample.size, warp, limits)
    return replace(sample, image=image, truth=truth)


def flip(sample, **sides):
    return after(sample, Warp.flip(sample.size, **sides))


def rotate90(sample, turns):
    return after(sample, Warp.turn(sample.size, turns))


def crop(sample, window, size=None, **more):
    warp = Warp.crop(window)
    return after(sample, warp if size is None else warp.then(Warp.scale(warp.size, size)), **more)


def jitter_scale(sample, target, scale, generator, fill=None, limits=None):
    """A large-scale jitter, as training draws it."""
    truth = sample.truth
    boxes = np.zeros((0, 4)) if truth is None else truth.boxes

    def look(window, size):
        warp = View(1.0).warp(window, size, target)
        return warp, None if truth is None else warped_truth(truth, sample.size, warp, limits)

    warp, seen = jitter_view(sample.size, target, scale, generator, look, boxes)
    return replace(after(replace(sample, truth=None), warp, fill), truth=seen)


def assert_aligned(sample, step=20, offset=0):
    """Every mask is where the picture has the object's value, every value has its mask, boxes are tight."""
    plane = sample.image[..., 0]
    truth = sample.truth
    assert truth.masks.size == sample.size
    for row, class_id in enumerate(truth.class_ids):
        np.testing.assert_array_equal(truth.masks.to_dense(row), plane == step * (class_id + 1) + offset)
    np.testing.assert_array_equal(truth.boxes, truth.masks.boxes())
    assert (truth.masks.areas() > 0).all()
    assert set(np.unique(plane)) - {0} == {step * (k + 1) + offset for k in truth.class_ids}


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
def test_flip(channels, dtype, sides):
    sample = coded(channels=channels, dtype=dtype)
    horizontal, vertical = sides
    flipped = flip(sample, horizontal=horizontal, vertical=vertical)
    assert_aligned(flipped)
    assert not np.array_equal(flipped.image, sample.image)
    back = flip(flipped, horizontal=horizontal, vertical=vertical)
    np.testing.assert_array_equal(back.image, sample.image)
    np.testing.assert_array_equal(back.truth.boxes, sample.truth.boxes)


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("masks", [True, False])
def test_rotate90(turns, masks):
    sample = coded(masks=masks)
    turned = rotate90(sample, turns)
    np.testing.assert_array_equal(turned.image, np.rot90(sample.image, turns))
    expected = rotate90(coded(), turns)
    assert_aligned(expected)
    np.testing.assert_array_equal(turned.truth.boxes, expected.truth.boxes)


@pytest.mark.parametrize("masks", [True, False])
def test_flip_moves_boxes_alike_with_and_without_masks(masks):
    flipped = flip(coded(masks=masks), vertical=True)
    np.testing.assert_array_equal(flipped.truth.boxes, flip(coded(), vertical=True).truth.masks.boxes())


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
@pytest.mark.parametrize(
    "window", [(5, 3, 40, 30), (-7, -4, 30, 60), (10, 10, 90, 80), (0, 0, 56, 40), (54, 38, 56, 40)]
)
def test_crop_inside_and_outside(channels, dtype, window):
    cropped = crop(coded(channels=channels, dtype=dtype), window)
    assert cropped.size == (window[3] - window[1], window[2] - window[0])
    assert_aligned(cropped)


def test_crop_wholly_outside_is_filled_and_empty():
    cropped = crop(coded(), (60, 50, 80, 90), fill=np.array([1, 2, 3], np.uint8))
    assert (cropped.image == [1, 2, 3]).all()
    assert len(cropped.truth) == 0
    assert cropped.truth.masks.size == (40, 20)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.7, 3.0])
def test_crop_with_resizing_keeps_masks_on_their_objects(factor):
    for seed in range(6):
        sample = coded(seed, objects=1, step=200)
        window = (3, 2, 51, 38)
        size = (round(36 * factor), round(48 * factor))
        cropped = crop(sample, window, size)
        assert cropped.size == size
        drawn = cropped.image[..., 0] >= 100
        truth = cropped.truth
        assert len(truth) == drawn.any()
        if len(truth):
            assert (truth.masks.to_dense(0) ^ drawn).sum() <= 0.02 * drawn.sum() + 1
            np.testing.assert_array_equal(truth.boxes, truth.masks.boxes())


def test_boxes_without_masks_are_moved_and_clipped():
    truth = InstanceSet(np.array([[10, 10, 30, 20], [50, 30, 56, 40]], np.float32), np.array([4, 5]))
    cropped = crop(Sample(np.zeros((40, 56, 3), np.uint8), truth), (20, 5, 40, 25), (40, 60))
    np.testing.assert_allclose(cropped.truth.boxes, [[0, 10, 30, 30]])
    assert cropped.truth.class_ids.tolist() == [4]
    assert cropped.truth.masks is None


def test_objects_of_which_too_little_remains_are_left_out():
    dense = np.zeros((2, 20, 40), bool)
    dense[0, 5:15, 10:20] = dense[1, 5:15, 25:35] = True
    masks = Masks.from_dense(dense)
    sample = Sample(np.zeros((20, 40, 1), np.uint8), InstanceSet(masks.boxes(), np.array([0, 1]), masks=masks))
    window = (18, 0, 38, 20)
    assert crop(sample, window).truth.class_ids.tolist() == [0, 1]
    assert crop(sample, window, limits=Augment(min_visible=0.19, min_area=0)).truth.class_ids.tolist() == [0, 1]
    assert crop(sample, window, limits=Augment(min_visible=0.21, min_area=0)).truth.class_ids.tolist() == [1]
    assert crop(sample, window, limits=Augment(min_visible=0, min_area=21)).truth.class_ids.tolist() == [1]
    assert crop(sample, window, (40, 40), limits=Augment(min_visible=0, min_area=21)).truth.class_ids.tolist() == [0, 1]
    assert crop(sample, window, (40, 40), limits=Augment(min_visible=0.21, min_area=0)).truth.class_ids.tolist() == [1]


def test_a_crowd_stays_while_a_pixel_of_it_remains():
    dense = np.zeros((1, 20, 40), bool)
    dense[0, :, :20] = True
    masks = Masks.from_dense(dense)
    truth = InstanceSet(masks.boxes(), np.array([0]), masks=masks, crowd=np.array([True]))
    sample = Sample(np.zeros((20, 40, 1), np.uint8), truth)
    limits = Augment(min_area=1000, min_visible=0.9)
    assert crop(sample, (19, 0, 40, 20), limits=limits).truth.crowd.tolist() == [True]
    assert len(crop(sample, (20, 0, 40, 20), limits=limits).truth) == 0


def test_an_object_larger_than_the_crop_stays():
    dense = np.ones((1, 200, 200), bool)
    masks = Masks.from_dense(dense)
    sample = Sample(np.zeros((200, 200, 1), np.uint8), InstanceSet(masks.boxes(), np.array([0]), masks=masks))
    assert len(crop(sample, (50, 50, 60, 60), limits=Augment()).truth) == 1


@pytest.mark.parametrize("scale", [0.3, 0.9, 1.0, 2.5])
@pytest.mark.parametrize("target", [(32, 32), (64, 48), (20, 90)])
@pytest.mark.parametrize(("channels", "dtype"), KINDS[:4])
def test_jitter_scale_gives_the_asked_size(scale, target, channels, dtype):
    for seed in range(3):
        sample = coded(seed, channels=channels, dtype=dtype)
        moved = jitter_scale(sample, target, (scale, scale), rng(seed))
        assert moved.image.shape == (*target, channels)
        assert moved.image.dtype == dtype
        assert moved.truth.masks.size == target
        assert moved.id == sample.id


def test_jitter_scale_without_resizing_is_exact_and_padded_at_right_and_bottom():
    moved = jitter_scale(coded(), (50, 60), (1.0, 1.0), rng(0), fill=np.array([0, 7, 9], np.uint8))
    assert_aligned(moved)
    np.testing.assert_array_equal(moved.image[:40, :56], coded().image)
    assert (moved.image[40:] == [0, 7, 9]).all()
    assert (moved.image[:, 56:] == [0, 7, 9]).all()
    for seed in range(10):
        assert_aligned(jitter_scale(coded(seed), (24, 24), (1.0, 1.0), rng(seed)))


def test_jitter_scale_covers_the_whole_picture():
    seen = np.zeros((10, 12), int)
    position = np.arange(120, dtype=np.float32).reshape(10, 12, 1)
    for seed in range(300):
        seen.ravel()[jitter_scale(Sample(position), (8, 8), (1.0, 1.0), rng(seed)).image.astype(int)] += 1
    assert seen.min() > 0


def test_a_lonely_object_in_a_big_picture_is_found():
    plane = np.zeros((900, 1200, 1), np.uint8)
    plane[700:710, 90:100] = 255
    masks = Masks.from_dense(plane[None, ..., 0] > 0)
    sample = Sample(plane, InstanceSet(masks.boxes(), np.array([0]), masks=masks))
    for seed in range(20):
        assert len(jitter_scale(sample, (32, 32), (1.0, 1.0), rng(seed), limits=Augment()).truth) == 1


@pytest.mark.parametrize("step", [flip, lambda s: rotate90(s, 1), lambda s: crop(s, (1, 1, 9, 9), (20, 20))])
def test_pictures_without_truth_and_without_objects(step):
    image = coded().image
    assert step(Sample(image)).truth is None
    empty = step(Sample(image, InstanceSet.empty((40, 56))))
    assert len(empty.truth) == 0
    assert empty.truth.masks.size == empty.size
    assert len(jitter_scale(Sample(image, InstanceSet.empty((40, 56))), (16, 16), (1, 1), rng(0)).truth) == 0


def test_copy_paste_hides_what_lies_below():
    for seed in range(20):
        below = coded(seed)
        other = coded(seed + 100, step=7)
        mixed = copy_paste(below, other, rng(seed))
        plane = mixed.image[..., 0]
        union = np.zeros(plane.shape, int)
        for row in range(len(mixed.truth)):
            union += mixed.truth.masks.to_dense(row)
            values = np.unique(plane[mixed.truth.masks.to_dense(row)])
            class_id = mixed.truth.class_ids[row]
            assert values.tolist() in ([20 * (class_id + 1)], [7 * (class_id + 1)])
        assert union.max() <= 1  # the objects of coded pictures do not overlap, so nothing may after pasting
        np.testing.assert_array_equal(union > 0, plane > 0)
        np.testing.assert_array_equal(mixed.truth.boxes, mixed.truth.masks.boxes())


def test_copy_paste_pastes_about_half_and_leaves_its_sources_alone():
    below, other = coded(1, objects=0), coded(2, objects=5)
    before = below.image.copy()
    counts = [len(copy_paste(below, other, rng(seed)).truth) for seed in range(200)]
    assert set(counts) == set(range(len(other.truth) + 1))
    assert abs(np.mean(counts) - len(other.truth) / 2) < 0.4
    np.testing.assert_array_equal(below.image, before)


def test_copy_paste_from_pictures_of_other_sizes():
    for size in ((20, 80), (90, 30)):
        for seed in range(5):
            mixed = copy_paste(coded(0, objects=0), coded(seed, size), rng(seed))
            assert_aligned(mixed)


def test_copy_paste_never_pastes_crowds_and_drops_what_is_hidden():
    dense = np.zeros((1, 40, 56), bool)
    dense[0, 5:30, 5:30] = True
    masks = Masks.from_dense(dense)
    big = InstanceSet(masks.boxes(), np.array([9]), masks=masks, crowd=np.array([True]))
    crowd = Sample(np.full((40, 56, 3), 200, np.uint8), big)
    below = coded(3)
    assert all((copy_paste(below, crowd, rng(seed)).image == below.image).all() for seed in range(8))
    whole = Sample(crowd.image, InstanceSet(masks.boxes(), np.array([9]), masks=masks))
    inside = InstanceSet(masks.boxes(), np.array([1]), masks=Masks.from_dense(np.roll(dense, 1, axis=2) & dense))
    hidden = Sample(below.image, inside)
    found = {tuple(copy_paste(hidden, whole, rng(seed)).truth.class_ids.tolist()) for seed in range(8)}
    assert found == {(1,), (9,)}


def test_copy_paste_needs_masks_and_one_type():
    sample, boxes = coded(), coded(masks=False)
    words = coded(dtype=np.uint16)
    for below, other in ((sample, boxes), (boxes, sample), (sample, words)):
        assert copy_paste(below, other, rng(0)) is below


@pytest.mark.parametrize("corner", [(20, 30), (1, 59), (39, 1)])
def test_mosaic(corner):
    parts = [coded(seed, step=step) for seed, step in enumerate((3, 5, 7, 11))]
    joined = mosaic(parts, corner, (40, 60))
    y, x = corner
    quarters = [
        (slice(0, y), slice(0, x)),
        (slice(0, y), slice(x, 60)),
        (slice(y, 40), slice(0, x)),
        (slice(y, 40), slice(x, 60)),
    ]
    covered = np.zeros((40, 60), bool)
    for part, (rows, columns) in zip(parts, quarters, strict=True):
        height, width = rows.stop - rows.start, min(columns.stop - columns.start, 56)
        shown = joined.image[rows, columns][:, :width]
        np.testing.assert_array_equal(shown, part.image[:height, :width])
    for row in range(len(joined.truth)):
        mask = joined.truth.masks.to_dense(row)
        assert len(np.unique(joined.image[mask])) == 1
        covered |= mask
    np.testing.assert_array_equal(covered, joined.image[..., 0] > 0)
    np.testing.assert_array_equal(joined.truth.boxes, joined.truth.masks.boxes())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_mixup_is_the_mean_with_all_objects(dtype):
    below, above = coded(1, dtype=dtype), coded(2, dtype=dtype)
    mixed = mixup(below, above)
    mean = (below.image.astype(np.float64) + above.image) / 2
    np.testing.assert_allclose(mixed.image, mean, atol=0.5 if dtype != np.float32 else 1e-6)
    assert mixed.image.dtype == dtype and len(mixed.truth) == len(below.truth) + len(above.truth)
    np.testing.assert_array_equal(mixed.truth.boxes[: len(below.truth)], below.truth.boxes)
    assert mixed.truth.masks is not None and mixup(below, coded(2, dtype=dtype, masks=False)).truth.masks is None
    with pytest.raises(DataError, match="expected annotated objects as truth"):
        mixup(below, Sample(above.image, SemanticMap(np.zeros(above.size, np.uint8))))


def test_mosaic_of_pictures_without_truth():
    joined = mosaic([Sample(coded().image)] * 4, (10, 10), (30, 30))
    assert len(joined.truth) == 0


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
def test_looks_keep_type_shape_and_truth(channels, dtype):
    sample = coded(channels=channels, dtype=dtype)
    for changed in (
        colour(sample, rng(1), brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
        blur(sample, 1.2),
        noise(sample, rng(1), 0.1),
    ):
        assert changed.image.shape == sample.image.shape
        assert changed.image.dtype == dtype
        assert changed.truth is sample.truth
        assert not np.array_equal(changed.image, sample.image)


def test_colour_without_strength_changes_nothing():
    sample = coded()
    np.testing.assert_array_equal(colour(sample, rng(0)).image, sample.image)


def test_brightness_multiplies_and_stops_at_white():
    bright = [colour(Sample(np.full((2, 2, 3), 200, np.uint8)), rng(k), brightness=1.0).image.max() for k in range(40)]
    assert max(bright) == 255
    assert min(bright) < 40


def test_contrast_keeps_the_mean():
    image = np.random.default_rng(0).uniform(0.3, 0.7, (30, 30, 4)).astype(np.float32)
    changed = colour(Sample(image), rng(1), contrast=0.8).image
    assert abs(changed.mean() - image.mean()) < 1e-5
    assert abs(changed.std() / image.std() - 1) > 0.05


def test_saturation_and_hue_keep_grey_grey_and_change_colours():
    grey = np.full((2, 2, 3), 0.5, np.float32)
    red = grey * np.array([1.5, 0.5, 0.5], np.float32)
    np.testing.assert_allclose(colour(Sample(grey), rng(3), saturation=0.9, hue=0.4).image, grey, atol=1e-3)
    turned = colour(Sample(red), rng(3), hue=0.4).image
    assert abs(turned - red).max() > 0.1
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(turned @ luma, red @ luma, atol=1e-3)


def test_noise_has_the_asked_strength():
    image = np.full((100, 100, 3), 30000, np.uint16)
    changed = noise(Sample(image), rng(0), 0.05).image.astype(float) - image
    assert abs(changed.std() / (0.05 * 65535) - 1) < 0.03


def test_inputs_are_never_written_to():
    sample = coded()
    before = sample.image.copy()
    sample.image.flags.writeable = False
    flip(sample), rotate90(sample, 1), crop(sample, (0, 0, 30, 30), (9, 9)), blur(sample, 1), noise(sample, rng(0), 0.1)
    colour(sample, rng(0), brightness=0.4), copy_paste(sample, coded(5), rng(0)), mosaic([sample] * 4, (9, 9), (20, 20))
    np.testing.assert_array_equal(sample.image, before)


def test_other_kinds_of_truth_are_refused():
    label_map = Sample(np.zeros((4, 4, 3), np.uint8), SemanticMap(np.zeros((4, 4), np.int64)))
    with pytest.raises(DataError, match="expected annotated objects as truth, but got label maps"):
        copy_paste(coded(), label_map, rng(0))
    with pytest.raises(DataError, match="expected annotated objects as truth, but got label maps"):
        mosaic([label_map] * 4, (2, 2), (4, 4))


@pytest.mark.parametrize("top", [255.0, 65535.0])
def test_floats_that_come_from_whole_numbers_are_changed_as_those(top):
    """A resized picture is float32, but has the range of its file: clipped there, with noise relative to it."""
    words = coded(dtype=np.uint8 if top == 255 else np.uint16, step=20 if top == 255 else 5000)
    floats = replace(words, image=words.image.astype(np.float32))
    strong = {"brightness": 0.9, "contrast": 0.9, "saturation": 0.5, "hue": 0.2}
    for seed in range(8):
        for ours, theirs in (
            (noise(floats, rng(seed), 0.2, top), noise(words, rng(seed), 0.2)),
            (colour(floats, rng(seed), **strong, top=top), colour(words, rng(seed), **strong)),
        ):
            assert ours.image.dtype == np.float32 and ours.image.min() >= 0 and ours.image.max() <= top
            np.testing.assert_allclose(ours.image, theirs.image, atol=1)
            assert as_in_file(ours, top).image.dtype == words.image.dtype


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"scale": (2.0, 1.0)},
        {"scale": (0.0, 1.0)},
        {"hue": 0.7},
        {"mosaic": -0.1},
        {"mixup": 1.5},
        {"unmixed": 1.1},
        {"noise": float("nan")},
    ],
)
def test_strengths_that_cannot_be_used(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augment(**wrong)


def test_a_stated_area_is_that_of_the_whole_object_at_its_own_scale():
    sample = coded(objects=3)
    stated = replace(sample, truth=replace(sample.truth, areas=np.arange(len(sample.truth)) + 100.5))
    for kept in (flip(stated), rotate90(stated, 3)):
        assert kept.truth.areas.tolist() == stated.truth.areas.tolist()
    assert crop(stated, (0, 0, 56, 40), (80, 112)).truth.areas is None
    assert crop(stated, (0, 0, 30, 40)).truth.areas is None
    assert mosaic([stated] * 4, (20, 28), (40, 56)).truth.areas is None
