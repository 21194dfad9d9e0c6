"""What is decoded and drawn only where it is wanted equals what is cut from the whole, but for rounding."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment, warped_truth
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import InstancePipeline
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.feed.resample import warped_picture
from everymask.data.feed.scenes import open_scene, whole_part
from everymask.data.feed.views import View
from everymask.data.formats.coco.instances import read_coco
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import DataError

VIEWS = [
    ((0, 0, 320, 240), (240, 320)),
    ((0, 0, 320, 240), (60, 80)),
    ((50, 30, 200, 160), (130, 150)),
    ((50, 30, 200, 160), (390, 450)),
    ((37, 41, 299, 203), (47, 75)),
]
SQUARE = np.array([[40.0, 60.0], [160.0, 60.0], [160.0, 180.0], [40.0, 180.0]])
LONE = np.array([[250.0, 20.0], [270.0, 20.0], [260.0, 40.0]])


def dataset(folder, *objects, name="a.jpg", size=(240, 320), boxes_only=False):
    """A picture on which the square is white, and its objects."""
    plane = np.zeros(size, np.uint8)
    plane[60:180, 40:160] = 255
    Image.fromarray(np.repeat(plane[..., None], 3, axis=2)).save(folder / name, quality=95, subsampling=0)
    record = Record("a", folder / name, size, Objects(objects))
    return Dataset(labels_of(["x", "y"]), (record,), "fake", folder, boxes_only=boxes_only)


SIZE = (240, 320)


def part(window, size):
    """What lies in `window`, resized to `size`."""
    return View(1.0).warp(window, size, size)


def polygon(*rings, **more):
    return Annotation(0, Polygons(rings), **more)


@pytest.mark.parametrize(("window", "size"), VIEWS)
def test_outlines_drawn_in_a_window_are_what_is_cut_from_the_whole(tmp_path, window, size):
    crowd = replace(polygon(LONE, crowd=True, id=7), class_id=1)
    made = dataset(tmp_path, polygon(SQUARE, LONE), crowd, polygon(LONE + 500))
    drawn = open_scene(made, 0).truth(SIZE, part(window, size))
    cut = warped_truth(made.truth(0), SIZE, part(window, size))
    assert drawn.masks.size == size
    for name in ("class_ids", "ids", "crowd"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(cut, name))
    np.testing.assert_allclose(drawn.boxes, cut.boxes, atol=1)
    assert (np.diag(drawn.masks.iou(cut.masks))[0]) > 0.97


def test_what_remains_of_an_object_is_measured_as_in_a_cut(tmp_path):
    made = dataset(tmp_path, polygon(SQUARE))
    for left, kept in ((40, 1), (100, 1), (141, 1), (143, 0)):
        window = (left, 0, 320, 240)
        for size in ((240, 320 - left), (120, (320 - left) // 2)):
            for scene in (open_scene(made, 0), open_scene([made[0]], 0)):
                assert len(scene.truth(SIZE, part(window, size), Augment(min_visible=0.15, min_area=0))) == kept
    assert len(open_scene(made, 0).truth(SIZE, part((0, 0, 320, 240), (2, 3)), Augment(min_area=4, min_visible=0))) == 0
    assert len(open_scene(made, 0).truth(SIZE, part((60, 80, 70, 90), (10, 10)), Augment())) == 1


@pytest.mark.parametrize("factor", [1, 0.5, 0.25, 0.1])
@pytest.mark.parametrize("size", [(60, 80), (200, 200), (31, 17)])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_reduced_picture_shows_the_same_at_the_same_place(tmp_path, factor, size, name):
    pipeline = InstancePipeline(
        dataset(tmp_path, polygon(SQUARE), name=name),
        Preprocess(mean=(0,) * 3, std=(1,) * 3, resize=Resize(1, 999, "none")),
        replace(Augment.none(), scale=(factor, factor)),
        size=size,
    )
    for epoch in range(4):
        found = pipeline(epoch, 0)
        drawn = found.truth.masks.to_dense(0)
        assert ((found.image[0] >= 0.5) ^ drawn).sum() <= 0.03 * drawn.sum()


def test_a_smaller_picture_is_decoded_only_where_it_is_enough(tmp_path):
    seen = []
    made = dataset(tmp_path, polygon(SQUARE))

    def look(image):
        seen.append(image.shape[:2])
        return image

    for factor in (1.0, 0.51, 0.5, 0.25, 0.124, 0.01):
        open_scene(made, 0).image(look, View(factor).reduction((240, 320)))
    assert seen == [(240, 320), (240, 320), (120, 160), (60, 80), (30, 40), (30, 40)]
    assert open_scene(dataset(tmp_path, name="a.png"), 0).image(look, 8).shape == (30, 40, 3)
    assert seen[-1] == (240, 320)
    assert [View(0.1).reduction(size) for size in ((127, 300), (63, 300), (300, 31))] == [4, 2, 1]


@pytest.mark.parametrize("size", [(241, 323), (65, 33), (39, 90)])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_sides_that_are_no_multiples(tmp_path, size, name):
    Image.new("RGB", size[::-1], (9, 80, 200)).save(tmp_path / name)
    made = Dataset(labels_of(["x"]), (Record("a", tmp_path / name, size, Objects()),), "fake", tmp_path)
    for reduction in (2, 8):
        image = open_scene(made, 0).image(lambda image: image, reduction)
        assert tuple(side * reduction for side in image.shape[:2]) == whole_part(size, reduction)
        assert np.abs(image - np.array([9, 80, 200])).max() <= 3


@pytest.mark.parametrize("reduction", [1, 4])
def test_the_pictures_size_is_checked_reduced_or_not(tmp_path, reduction):
    made = dataset(tmp_path)
    Image.new("RGB", (300, 240)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="expected a picture of 320 x 240 pixels, but it has 300 x 240"):
        open_scene(made, 0).image(lambda image: image, reduction)


@pytest.mark.parametrize("held", [False, True])
def test_a_rotated_picture_has_its_objects_where_they_are_seen(tmp_path, held):
    made = dataset(tmp_path, polygon(SQUARE))
    scene = open_scene([made[0]] if held else made, 0)
    warp = View(1.0, turns=1, degrees=25.0).warp((20, 10, 300, 220), (105, 140), (110, 140))
    truth = scene.truth(SIZE, warp)
    image, _ = warped_picture(scene.image(lambda image: image), warp, "shrink", np.zeros(3))
    drawn = truth.masks.to_dense(0)
    assert ((image[..., 0] >= 128) ^ drawn).sum() <= 0.03 * drawn.sum()
    np.testing.assert_array_equal(truth.boxes, truth.masks.boxes())


def test_other_shapes_and_samples_are_cut(tmp_path):
    mask = np.zeros((240, 320), bool)
    mask[60:180, 40:160] = True
    runs = Annotation(0, Rle(Masks.from_dense(mask[None]).to_rle()[0]))
    mixed = dataset(tmp_path, runs, polygon(SQUARE))
    boxes = dataset(tmp_path, Annotation(1, BoxOnly(), (40.0, 60.0, 160.0, 180.0)), boxes_only=True)
    for window, size in VIEWS:
        truth = open_scene(mixed, 0).truth(SIZE, part(window, size))
        np.testing.assert_array_equal(truth.masks.to_dense(0), truth.masks.to_dense(1))
        np.testing.assert_allclose(
            open_scene(boxes, 0).truth(SIZE, part(window, size)).boxes, truth.boxes[:1], atol=0.6
        )
        assert open_scene([Sample(mixed[0].image)], 0).truth(SIZE, part(window, size)) is None
    assert len(open_scene(dataset(tmp_path), 0).truth(SIZE, part(*VIEWS[0])).masks) == 0


def test_training_pictures_of_real_data_hold_their_objects(shared):
    """The pipeline's truth against masks that are drawn whole, cut and resized, with what it drew."""
    pictures = packed(read_coco(shared / "coco128_seg").subset(range(12)))
    augment = replace(Augment.none(), scale=(0.1, 2.0), flip=0.5)
    held = [pictures[index] for index in range(12)]
    found, expected = (
        InstancePipeline(samples, Preprocess(resize=Resize(320, 320)), augment, 5, (320, 320))
        for samples in (pictures, held)
    )
    wrong = total = 0
    for epoch in range(3):
        for index in range(12):
            ours, theirs = found(epoch, index), expected(epoch, index)
            union, reference = (
                np.any([np.zeros((320, 320), bool), *(p.truth.masks.to_dense(k) for k in range(len(p.truth)))], axis=0)
                for p in (ours, theirs)
            )
            wrong += (union ^ reference).sum()
            total += reference.sum()
            assert np.abs(ours.image - theirs.image).mean() < 0.15
    assert wrong < 0.01 * total
