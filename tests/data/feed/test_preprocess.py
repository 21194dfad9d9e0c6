"""A picture reaches the network as its weights' home library would bring it, and boxes find the way back."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from everymask.core.masks import Masks
from everymask.data.feed.preprocess import Placement, Preprocess, Resize
from everymask.errors import ConfigError, DataError, WeightsError

RULES = ("torchvision", "detectron2", "mmdet", "matterport", "none")
PLAIN = Preprocess(mean=(0, 0, 0), std=(1, 1, 1), scale=1)


def picture(size, channels=3, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).random((*size, channels))
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    return (values * top).astype(dtype)


def plain(rule, short=60, long=90, channels=3):
    return Preprocess(channels, 1.0, (0.0,) * channels, (1.0,) * channels, Resize(short, long, rule))


def exact(image, size, shift=0.0):
    """Bilinear with half-pixel centres in double precision, and where each row and column is read.

    The picture [H, W, C] as [C, h, w] float64; `shift` moves where it is read, in pixels.
    """
    values, positions = image.astype(np.float64), []
    for axis, after in enumerate(size):
        before = image.shape[axis]
        position = np.clip((np.arange(after) + 0.5) * before / after - 0.5 + shift, 0, before - 1)
        low = np.minimum(position.astype(int), max(before - 2, 0))
        share = (position - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        values = (
            np.take(values, low, axis) * (1 - share) + np.take(values, np.minimum(low + 1, before - 1), axis) * share
        )
        positions.append(position)
    return values.transpose(2, 0, 1), *positions


def rounding(y, x, roundings):
    """By how much values may differ that are read at [h], [w], relative to the range of the picture's values [h, w].

    float32 holds 24 bits. A position that is rounded n times is off by up to n * 2 ** -24 of itself, and a value that
    is read there by as much times the difference of two neighbours, which is at most the range. Normalising and
    interpolating round the values themselves: 8 times at most.
    """
    return (roundings * (y[:, None] + 1 + x + 1) + 8) * 2.0**-24


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("seed", range(8))
def test_torchvision_rule_equals_torchvisions_transform(seed):
    """Both are the exact interpolation, but for the rounding of float32; relative to the range of the values.

    PyTorch rounds the ratio of the sizes to float32, and then ratio * (i + 0.5) - 0.5: once in kernels with fused
    multiply-add (AVX2, AVX-512), as we do, and after each of the two operations in others. Which kernel runs depends on
    processor, number of threads and size, so that positions may differ from ours by two roundings, and by no more.
    """
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    draw = np.random.default_rng(seed)
    size = tuple(int(side) for side in draw.integers(20, 700, 2))
    short = int(draw.integers(50, 500))
    long = short + int(draw.integers(0, 400))
    image = picture(size, seed=seed)
    boxes = (draw.random((5, 4)) * min(size)).astype(np.float32)
    preprocess = Preprocess(resize=Resize(short, long))
    reference = transform.GeneralizedRCNNTransform(short, long, list(preprocess.mean), list(preprocess.std))
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    images, targets = reference.eval()([tensor], [{"boxes": torch.from_numpy(boxes)}])

    found, placement = preprocess.apply(image)

    assert found.shape[1:] == images.image_sizes[0] == placement.resized
    theirs = images.tensors[0].numpy()[:, : found.shape[1], : found.shape[2]]
    normalised = (image / 255 - np.array(preprocess.mean)) / np.array(preprocess.std)
    values, y, x = exact(normalised, placement.resized)
    span = np.ptp(normalised, axis=(0, 1))[:, None, None]
    assert (np.abs(found - theirs) <= span * rounding(y, x, 2)).all()
    assert (np.abs(found - values) <= span * rounding(y, x, 2)).all()
    assert (np.abs(theirs - values) <= span * rounding(y, x, 3)).all()
    moved, _, _ = exact(normalised, placement.resized, shift=0.001)
    assert (np.abs(found - moved) > span * rounding(y, x, 3)).mean() > 0.1, "a thousandth of a pixel must be seen"
    np.testing.assert_array_equal(placement.boxes_to_input(boxes), targets[0]["boxes"].numpy())


def test_torchvision_sizes_agree_for_every_shape():
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    draw = np.random.default_rng(3)
    for height, width in draw.integers(5, 3000, (60, 2)).tolist():
        image = torch.zeros(1, height, width)
        if min(800 / min(height, width), 1333 / max(height, width)) * min(height, width) >= 1:
            resized, _ = transform._resize_image_and_masks(image, 800, 1333)
            assert Resize().size_of((height, width)) == tuple(resized.shape[1:])


def test_detectron2_rule_is_pillows_bilinear():
    image = picture((50, 83))
    found, placement = plain("detectron2").apply(image)
    assert placement.resized == (54, 90)  # 60 / 50 would give 100, the cap 90 gives 54.2
    expected = np.asarray(Image.fromarray(image).resize((90, 54), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))


def test_mmdet_rule_is_opencvs_bilinear():
    image = picture((50, 83), channels=13)
    found, placement = plain("mmdet", channels=13).apply(image)
    assert placement.resized == (54, 90)
    np.testing.assert_array_equal(found, cv2.resize(image, (90, 54)).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        ("torchvision", (480, 640), (800, 1066)),
        ("detectron2", (480, 640), (800, 1067)),
        ("mmdet", (480, 640), (800, 1067)),
        ("detectron2", (427, 640), (800, 1199)),
        ("torchvision", (300, 900), (444, 1333)),
        ("mmdet", (300, 900), (444, 1333)),
        ("none", (7, 9), (7, 9)),
        pytest.param("torchvision", (1, 100_000), (1, 1333), id="A15 extreme aspect"),
        pytest.param("torchvision", (1, 1), (800, 800), id="A16 one pixel"),
    ],
)
def test_sizes(rule, size, expected):
    assert Resize(800, 1333, rule).size_of(size) == expected


@pytest.mark.parametrize(
    ("size", "expected"), [((480, 640), (768, 1024)), ((500, 500), (800, 800)), ((1500, 900), (1024, 614))]
)
def test_matterport_sizes(size, expected):
    assert Resize(800, 1024, "matterport").size_of(size) == expected


@pytest.mark.parametrize("size", [(20, 30), (35, 90), (64, 64)])
def test_matterport_rule_blends_the_border_with_zeros_and_centres(size):
    image = picture(size)
    found, placement = plain("matterport", 50, 64).apply(image)
    height, width = placement.resized
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0))).astype(np.float64)

    def sample(axis, count):
        position = size[axis] / count * (np.arange(count) + 0.5) - 0.5 + 1
        low = np.clip(np.floor(position).astype(int), 0, size[axis])
        return low, position - low

    (rows, down), (columns, right) = sample(0, height), sample(1, width)
    down, right = down[:, None, None], right[None, :, None]
    corner = [[padded[rows + i][:, columns + j] for j in (0, 1)] for i in (0, 1)]
    upper = corner[0][0] * (1 - right) + corner[0][1] * right
    lower = corner[1][0] * (1 - right) + corner[1][1] * right
    expected = upper * (1 - down) + lower * down
    top, left = placement.offset
    assert found.shape == (3, 64, 64)
    assert (top, left) == ((64 - height) // 2, (64 - width) // 2)
    inner = found[:, top : top + height, left : left + width].transpose(1, 2, 0)
    assert ((expected - inner > -1e-3) & (expected - inner < 1 + 1e-3)).all()  # cut to whole bytes
    assert found.sum() == inner.sum()


def test_matterport_pads_before_normalising():
    preprocess = Preprocess(resize=Resize(8, 16, "matterport"))
    found, _ = preprocess.apply(picture((4, 16)))
    np.testing.assert_allclose(found[:, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_rule_takes_every_channel_count_and_type(rule, channels, dtype):
    scale = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    image = picture((40, 30), channels, dtype)
    before = image.copy()
    preprocess = Preprocess(channels, scale, (0.5,) * channels, (0.25,) * channels, Resize(20, 32, rule))
    found, placement = preprocess.apply(image)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.shape == (channels, *placement.frame)
    assert abs(found).max() <= 2 + 1e-5
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("rule", RULES)
def test_boxes_there_and_back(rule):
    draw = np.random.default_rng(5)
    for size in draw.integers(3, 2000, (20, 2)).tolist():
        image = np.zeros((*size, 3), np.uint8)
        _, placement = Preprocess(resize=Resize(30, 64, rule)).apply(image)
        boxes = (draw.random((8, 4)) * (size[::-1] * 2)).astype(np.float32)
        there = placement.boxes_to_input(boxes)
        assert there.dtype == np.float32
        np.testing.assert_allclose(placement.boxes_to_original(there), boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_the_whole_picture_becomes_the_whole_resized_picture(rule):
    _, placement = Preprocess(resize=Resize(30, 64, rule)).apply(np.zeros((33, 47, 3), np.uint8))
    whole = np.array([[0, 0, 47, 33]], np.float32)
    top, left = placement.offset
    height, width = placement.resized
    np.testing.assert_allclose(placement.boxes_to_input(whole), [[left, top, left + width, top + height]], rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_masks_stand_where_the_picture_stands(rule):
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:50] = 255
    masks = Masks.from_dense(image[None, ..., 0] > 0)
    found, placement = plain(rule, 80, 130).apply(image)
    moved = masks.warped(placement.warp)
    assert moved.size == placement.frame == found.shape[1:]
    drawn = found[0] > 127
    assert (moved.to_dense(0) ^ drawn).sum() <= 0.05 * drawn.sum()


def test_empty_boxes():
    assert Placement((10, 20), (20, 40)).boxes_to_input(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_bgr_reverses_the_normalised_channels():
    image = picture((6, 5))
    straight = Preprocess(resize=Resize(rule="none"))
    np.testing.assert_array_equal(replace(straight, bgr=True).apply(image)[0], straight.apply(image)[0][::-1])


def test_normalise_keeps_the_size():
    preprocess = Preprocess()
    image = picture((12, 9))
    np.testing.assert_array_equal(
        preprocess.normalise(image), replace(preprocess, resize=Resize(rule="none")).apply(image)[0]
    )


def test_grey_is_repeated_and_equal_channels_become_one():
    none = Resize(rule="none")
    grey = picture((4, 5), 1)
    three = Preprocess(3, 255, (0, 0, 0), (1, 1, 1), none)
    one = Preprocess(1, 255, (0,), (1,), none)
    np.testing.assert_array_equal(three.apply(grey)[0], three.apply(np.repeat(grey, 3, axis=2))[0])
    np.testing.assert_array_equal(one.apply(np.repeat(grey, 3, axis=2))[0], one.apply(grey)[0])


@pytest.mark.parametrize(
    ("found", "wanted"),
    [(3, 1), (13, 3), (2, 3), (3, 13), (1, 4), (4, 1), pytest.param(4, 3, id="A31 near infrared"), (5, 4)],
)
def test_other_channel_counts_are_refused(found, wanted):
    preprocess = Preprocess(wanted, 255, (0,) * wanted, (1,) * wanted)
    with pytest.raises(DataError, match=rf"takes pictures with {wanted} channels?, but this one has {found}"):
        preprocess.apply(picture((4, 4), found))


def test_a31_a_fourth_channel_is_never_lost_without_a_word():
    with pytest.raises(DataError) as error:
        Preprocess().apply(picture((4, 4), 4))
    assert "image[..., :3]" in error.value.hint
    equal = np.repeat(picture((4, 4), 1), 4, axis=2)
    with pytest.raises(DataError, match="takes pictures with 1 channel, but this one has 4"):
        Preprocess(1, 255, (0,), (1,)).apply(equal)


@pytest.mark.parametrize(
    ("dtype", "scale", "named"),
    [
        pytest.param(np.uint16, 255, "uint16", id="A24 16 bits without a rule"),
        (np.uint8, 65535, "uint8"),
        (np.float32, 255, "float32"),
    ],
)
def test_stored_ranges_that_do_not_fit_are_refused(dtype, scale, named):
    with pytest.raises(DataError, match=named):
        Preprocess(scale=scale).apply(picture((4, 4), dtype=dtype))


def test_twelve_bits_may_be_declared():
    image = np.full((2, 2, 3), 4095, np.uint16)
    found, _ = replace(PLAIN, scale=4095, resize=Resize(rule="none")).apply(image)
    np.testing.assert_allclose(found, 1)


@pytest.mark.parametrize("value", [pytest.param(np.nan, id="A25 NaN"), pytest.param(np.inf, id="A25 inf")])
def test_pixels_that_are_not_numbers_are_refused(value):
    image = picture((4, 6), dtype=np.float32)
    image[2, 3, 1] = value
    with pytest.raises(DataError, match=r"1 NaN or infinite.*\(2, 3, 1\)"):
        Preprocess(scale=1).apply(image)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match="height, width, channels"):
        Preprocess().apply(np.zeros(shape, np.uint8))


def test_other_types_are_refused():
    with pytest.raises(DataError, match="int64"):
        Preprocess().apply(np.zeros((4, 4, 3), np.int64))


def test_json_round_trip():
    preprocess = Preprocess(1, 4095.0, (0.1,), (0.2,), Resize(100, 200, "mmdet"), 64)
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess


@pytest.mark.parametrize("field", list(Preprocess().to_json()))
def test_incomplete_json_is_refused(field):
    data = Preprocess().to_json()
    del data[field]
    with pytest.raises(WeightsError, match=field):
        Preprocess.from_json(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (0.5,)},
        {"std": (1, 1, 0)},
        {"std": (1, float("nan"), 1)},
        {"scale": 0},
        {"divisor": 0},
        {"channels": 1, "mean": (0,), "std": (1,), "bgr": True},
    ],
)
def test_settings_that_cannot_be_used(wrong):
    with pytest.raises(ConfigError):
        Preprocess(**wrong)


@pytest.mark.parametrize("wrong", [(0, 5, "none"), (10, 5, "none"), (5, 10, "other")])
def test_resizes_that_cannot_be_used(wrong):
    with pytest.raises(ConfigError):
        Resize(*wrong)
