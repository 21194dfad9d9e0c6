"""What is decoded and drawn only where it is wanted equals what is cut from the whole, but for rounding."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.data.dataset import Annotation, BoxOnly, Dataset, Objects, Polygons, Record, Rle
from everymask.data.feed.augment import Augment, cut_truth
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import InstancePipeline
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.feed.scenes import open_scene
from everymask.data.formats.coco.instances import read_coco
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


def polygon(*rings, **more):
    return Annotation(0, Polygons(rings), **more)


@pytest.mark.parametrize(("window", "size"), VIEWS)
def test_outlines_drawn_in_a_window_are_what_is_cut_from_the_whole(tmp_path, window, size):
    crowd = replace(polygon(LONE, crowd=True, id=7), class_id=1)
    made = dataset(tmp_path, polygon(SQUARE, LONE), crowd, polygon(LONE + 500))
    drawn = open_scene(made, 0).truth(window, size)
    cut = cut_truth(made.truth(0), (240, 320), window, size, None)
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
                assert len(scene.truth(window, size, Augment(min_visible=0.15, min_area=0))) == kept
    assert len(open_scene(made, 0).truth((0, 0, 320, 240), (2, 3), Augment(min_area=4, min_visible=0))) == 0
    assert len(open_scene(made, 0).truth((60, 80, 70, 90), (10, 10), Augment())) == 1


@pytest.mark.parametrize(("window", "size"), VIEWS)
@pytest.mark.parametrize("shrink", [1, 0.5, 0.25, 0.13])
def test_a_reduced_jpeg_shows_the_same_at_the_same_place(tmp_path, window, size, shrink):
    scene = open_scene(dataset(tmp_path, polygon(SQUARE)), 0)
    image = scene.image(window, size, lambda image: image, shrink)
    assert image.shape == (*size, 3)
    white, drawn = image[..., 0] >= 128, scene.truth(window, size).masks.to_dense(0)
    # At 1/4 of its size a picture that is enlarged has borders as broad as its pixels, but centred where they were.
    assert (white ^ drawn).sum() <= 0.03 * drawn.sum()


def test_a_smaller_picture_is_decoded_only_where_it_is_enough(tmp_path):
    seen = []
    made = dataset(tmp_path, polygon(SQUARE))

    def look(image):
        seen.append(image.shape[:2])
        return image

    for shrink in (1.0, 0.51, 0.5, 0.25, 0.124, 0.01):
        open_scene(made, 0).image((0, 0, 320, 240), (24, 32), look, shrink)
    assert seen == [(240, 320), (240, 320), (120, 160), (60, 80), (30, 40), (30, 40)]
    open_scene(dataset(tmp_path, name="a.png"), 0).image((0, 0, 320, 240), (24, 32), look, 0.1)
    assert seen[-1] == (240, 320)


@pytest.mark.parametrize("size", [(241, 323), (1, 1), (3, 2), (8, 9)])
def test_sides_that_are_no_multiples(tmp_path, size):
    Image.new("RGB", size[::-1], (9, 80, 200)).save(tmp_path / "a.jpg")
    made = Dataset(labels_of(["x"]), (Record("a", tmp_path / "a.jpg", size, Objects()),), "fake", tmp_path)
    for shrink in (0.5, 0.1):
        image = open_scene(made, 0).image((0, 0, size[1], size[0]), (2, 2), lambda image: image, shrink)
        assert np.abs(image - np.array([9, 80, 200])).max() <= 3


@pytest.mark.parametrize("shrink", [1, 0.25])
def test_the_pictures_size_is_checked_reduced_or_not(tmp_path, shrink):
    made = dataset(tmp_path)
    Image.new("RGB", (300, 240)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="expected a picture of 320 x 240 pixels, but it has 300 x 240"):
        open_scene(made, 0).image((0, 0, 320, 240), (60, 80), lambda image: image, shrink)


def test_other_shapes_and_samples_are_cut(tmp_path):
    mask = np.zeros((240, 320), bool)
    mask[60:180, 40:160] = True
    runs = Annotation(0, Rle(Masks.from_dense(mask[None]).to_rle()[0]))
    mixed = dataset(tmp_path, runs, polygon(SQUARE))
    boxes = dataset(tmp_path, Annotation(1, BoxOnly(), (40.0, 60.0, 160.0, 180.0)), boxes_only=True)
    for window, size in VIEWS:
        truth = open_scene(mixed, 0).truth(window, size)
        np.testing.assert_array_equal(truth.masks.to_dense(0), truth.masks.to_dense(1))
        np.testing.assert_allclose(open_scene(boxes, 0).truth(window, size).boxes, truth.boxes[:1], atol=0.6)
        assert open_scene([Sample(mixed[0].image)], 0).truth(window, size) is None
    assert len(open_scene(dataset(tmp_path), 0).truth(*VIEWS[0]).masks) == 0


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
