"""Training sees the pixels that prediction sees: one resampling for both."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.geometry import Warp, framed
from everymask.data.feed.augment import Augment
from everymask.data.feed.pipelines import InstancePipeline, prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.feed.resample import Rule, averaged, resized, warped_picture
from everymask.data.feed.semantic_pipelines import SemanticPipeline
from everymask.data.formats.coco.instances import read_coco
from everymask.data.formats.labelmaps.image_masks import read_image_masks
from everymask.data.pictures.read import read_image

RULES = get_args(Rule)
SIZE = (310, 467)
STILL = replace(Augment.none(), category_max=0.0)


def scenery(channels, size=SIZE):
    """Soft and sharp structures, in 0-1: what averaging changes and what it does not."""
    draw = np.random.default_rng(3)
    soft = np.asarray(Image.fromarray(draw.integers(0, 256, (9, 12), np.uint8)).resize(size[::-1], 2), np.float64) / 255
    sharp = draw.random((*size, channels))
    sharp[: size[0] // 2] = sharp[: size[0] // 2] > 0.5
    return 0.6 * soft[..., None] + 0.4 * sharp


def _png(folder, channels):
    values = np.rint(scenery(channels) * 255).astype(np.uint8)
    Image.fromarray(values[..., 0] if channels == 1 else values).save(folder / "a.png")
    return "a.png"


def _jpeg(folder, size):
    Image.fromarray(np.rint(scenery(3, size) * 255).astype(np.uint8)).save(folder / "a.jpg", quality=90)
    return "a.jpg"


def _tiff(folder):
    tifffile.imwrite(folder / "a.tif", np.rint(scenery(3) * 65535).astype(np.uint16), photometric="rgb")
    return "a.tif"


def _npy(folder, dtype, top):
    np.save(folder / "a.npy", (scenery(7) * top).astype(dtype))
    return "a.npy"


# What writes the file, the network's channels and what stored values are divided by.
FILES = {
    "PNG": (lambda folder: _png(folder, 3), 3, 255),
    "grey PNG": (lambda folder: _png(folder, 1), 1, 255),
    "grey PNG as colour": (lambda folder: _png(folder, 1), 3, 255),
    "JPEG": (lambda folder: _jpeg(folder, SIZE), 3, 255),
    "large JPEG": (lambda folder: _jpeg(folder, (903, 1241)), 3, 255),
    "TIFF of 16 bits": (_tiff, 3, 65535),
    "NumPy bytes": (lambda folder: _npy(folder, np.uint8, 255), 7, 255),
    "NumPy floats": (lambda folder: _npy(folder, np.float32, 1), 7, 1),
}


def objects(folder, write):
    (folder / "images").mkdir()
    file = write(folder / "images")
    height, width = read_image(folder / "images" / file).shape[:2]
    square = [20, 20, 200, 20, 200, 150, 20, 150]
    document = {
        "images": [{"id": 1, "file_name": file, "width": width, "height": height}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": [square],
                "bbox": [20, 20, 180, 130],
                "iscrowd": 0,
            }
        ],
    }
    (folder / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    return read_coco(folder)


def label_maps(folder, write):
    for name in ("images", "masks"):
        (folder / name).mkdir()
    height, width = read_image(folder / "images" / write(folder / "images")).shape[:2]
    ids = (np.add.outer(np.arange(height) // 40, np.arange(width) // 50) % 3).astype(np.uint8)
    Image.fromarray(ids).save(folder / "masks" / "a.png")
    (folder / "classes.csv").write_text("number,name\n0,a\n1,b\n2,c\n", encoding="utf-8")
    return read_image_masks(folder)


def fed(rule, channels, scale, short=97, long=160):
    means, stds = (0.485, 0.456, 0.406, 0.5, 0.4, 0.3, 0.6), (0.229, 0.224, 0.225, 0.3, 0.25, 0.2, 0.22)
    return Preprocess(channels, scale, means[:channels], stds[:channels], Resize(short, long, rule))


# Each rule with two kinds of files and each kind with at least one rule; the slow suite has all with all.
@pytest.mark.parametrize(
    ("task", "kind", "rule"),
    [
        pytest.param(task, kind, rule, marks=[pytest.mark.slow] * ((row + column + turn) % len(RULES) > 0))
        for turn, task in enumerate(("objects", "label maps"))
        for row, kind in enumerate(FILES)
        for column, rule in enumerate(RULES)
    ],
)
def test_an_unvaried_training_picture_is_what_prediction_sees(task, kind, rule, tmp_path):
    """To 1e-5 of a standard deviation, made smaller (by about 3, the large JPEG by 8) and made larger."""
    write, channels, scale = FILES[kind]
    dataset = (objects if task == "objects" else label_maps)(tmp_path, write)
    pipeline = InstancePipeline if task == "objects" else SemanticPipeline
    for short, long in ((97, 160), (390, 600)):
        preprocess = fed(rule, channels, scale, short, long)
        expected = prepare(dataset[0], preprocess)
        x1, y1, x2, y2 = expected.placement.inside
        inside = expected.image[:, y1:y2, x1:x2]
        found = pipeline(dataset, preprocess, STILL)(0, 0)
        assert found.image.shape == inside.shape
        np.testing.assert_allclose(found.image, inside, rtol=0, atol=1e-5)
        if task == "objects":
            assert found.truth.masks.iou(expected.truth.masks.warped(Warp.crop((x1, y1, x2, y2)))).min() > 0.95
        else:
            np.testing.assert_array_equal(found.truth.ids, expected.truth.ids[y1:y2, x1:x2])
        larger = replace(pipeline(dataset, preprocess, STILL), size=(inside.shape[1] + 9, inside.shape[2] + 5))(0, 0)
        np.testing.assert_allclose(larger.image[:, :-9, :-5], inside, rtol=0, atol=1e-5)
        assert not larger.image[:, -9:].any() and not larger.image[..., -5:].any()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_turned_and_mirrored_it_has_the_same_pixels(rule, dtype):
    image = (scenery(3) * {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]).astype(dtype)
    small = resized(image, (97, 146), rule)
    warp = Warp.scale(SIZE, (97, 146)).then(Warp.turn((97, 146), 1)).then(Warp.flip((146, 97)))
    found, corner = warped_picture(image, warp, rule, np.zeros(3))
    assert corner == (0, 0)
    np.testing.assert_array_equal(found, np.rot90(small)[:, ::-1])


@pytest.mark.parametrize("rule", RULES)
def test_a_window_shows_what_the_whole_shows_there(rule):
    """A cut that is resized equals the resized picture's part, but for its outermost pixels."""
    image = np.rint(scenery(3, (320, 480)) * 255).astype(np.uint8)
    whole = resized(image, (160, 240), rule).astype(float)
    warp = Warp.crop((40, 60, 400, 260)).then(Warp.scale((200, 360), (100, 180)))
    part = warped_picture(image, warp, rule, np.zeros(3))[0].astype(float)
    np.testing.assert_allclose(part[2:-2, 2:-2], whole[32:128, 22:198], atol=1.0)
    corner = Warp.crop((0, 0, 400, 260)).then(Warp.scale((260, 400), (130, 200)))
    part = warped_picture(image, corner, rule, np.zeros(3))[0].astype(float)
    np.testing.assert_allclose(part[:-2, :-2], whole[:128, :198], atol=1.0)


@pytest.mark.parametrize("rule", RULES)
def test_a_rotation_back_and_forth_shows_the_picture_again(rule):
    image = np.rint(scenery(5, (90, 120)) * 100).astype(np.float32)
    smooth = averaged(np.kron(image, np.ones((2, 2, 1), np.float32)), 8)
    big = np.kron(smooth, np.ones((4, 4, 1), np.float32))
    turn = Warp.rotate((88, 120), 30.0)
    there = warped_picture(big, turn, rule, np.full(5, 7.0))[0]
    assert there.shape == (88, 120, 5) and (there[0, 0] == 7).all()
    back = warped_picture(there, turn.inverse((88, 120)), rule, np.zeros(5))[0]
    middle = (slice(30, 60), slice(40, 80))
    assert np.abs(back[middle] - big[middle]).mean() < 0.1 * big[middle].std() + 3


def test_what_shrinks_is_averaged_and_what_grows_is_not():
    """A checkerboard becomes grey where it shrinks by a whole factor, along one axis or both."""
    board = (np.indices((80, 80)).sum(axis=0) % 2 * 200).astype(np.uint8)[..., None]
    for rule in ("shrink", "none"):
        assert (resized(board, (40, 40), rule) == 100).all()
        assert (resized(board, (40, 160), rule) == 100).all()
        np.testing.assert_array_equal(resized(board, (80, 80), rule), board)
    assert (averaged(board[:-1], 4)[..., 0] == 100).all() and averaged(board[:-1], 4).shape == (19, 20, 1)


def test_pictures_from_farther_away_are_averaged_whatever_their_file(tmp_path):
    """At a quarter of prediction's size a JPEG, decoded at a quarter, and a PNG of the same pixels look alike."""
    plane = (np.indices((320, 480)).sum(axis=0) % 2 * 200).astype(np.uint8)
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).mkdir()
        far = objects(
            tmp_path / name, lambda folder, name=name: (Image.fromarray(plane).save(folder / name, quality=95), name)[1]
        )
        augment = replace(STILL, scale=(0.25, 0.25))
        for rule in RULES:
            image = InstancePipeline(far, fed(rule, 1, 255, 320, 480), augment)(0, 0).image * 0.229 + 0.485
            assert image.shape == ((1, 120, 120) if rule == "sam2" else (1, 80, 120))
            assert np.abs(image[:, 1:-1, 1:-1] * 255 - 100).max() < 3


def test_what_a_warp_does_not_show_is_filled():
    image = np.full((10, 10, 3), 200, np.uint8)
    away = Warp.crop((50, 50, 60, 70))
    assert (warped_picture(image, away, "none", np.array((1.2, 2.6, 300)))[0] == (1, 3, 255)).all()
    pixels, corner = warped_picture(image, Warp.crop((-3, -2, 10, 10)), "none", np.zeros(3))
    assert corner == (2, 3) and framed(pixels, corner, (12, 13), 9)[1, 2].tolist() == [9, 9, 9]
