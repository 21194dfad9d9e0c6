"""Training pictures depend on (seed, epoch, index) alone, and prediction sees the whole picture."""

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.augment import Augment
from everymask.data.feed.pipelines import Ending, InstancePipeline, prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import DataError

EVERYTHING = Augment(flip=0.5, vertical=0.5, rotate=0.5, copy_paste=0.5, mosaic=0.5, blur=0.5, noise=0.5)
FIT = Preprocess(resize=Resize(96, 96))


@dataclass(frozen=True)
class Listed:
    samples: tuple

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def shapes(count=6, size=(80, 96), **changes):
    config = ShapesConfig(count, size)
    return Listed(tuple(replace(draw_shapes(config, k), file=f"{k}.png", **changes) for k in range(count)))


def plain_pipeline(dataset, size=None, augment=None, **preprocess):
    none = Preprocess(**{"resize": Resize(rule="none"), "mean": (0, 0, 0), "std": (1, 1, 1), **preprocess})
    return InstancePipeline(dataset, none, augment or Augment.none(), 0, size)


def same(first, second):
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.truth.boxes, second.truth.boxes)
    np.testing.assert_array_equal(first.truth.class_ids, second.truth.class_ids)
    assert first.truth.masks.to_rle() == second.truth.masks.to_rle()


def test_pictures_do_not_depend_on_order_or_process():
    pipeline = InstancePipeline(shapes(), FIT, replace(EVERYTHING, mixup=0.5), seed=3, size=(64, 72))
    keys = [(epoch, index) for epoch in (0, 5) for index in range(6)]
    first = {key: pipeline(*key) for key in keys}
    copy = pickle.loads(pickle.dumps(pipeline))
    for key in reversed(keys):
        same(copy(*key), first[key])


def test_pictures_differ_between_epochs_indices_and_seeds():
    one = Listed((shapes(1).samples[0],) * 2)
    pipeline = InstancePipeline(one, FIT, EVERYTHING, seed=3, size=(64, 64))
    images = [pipeline(0, 0), pipeline(1, 0), pipeline(0, 1), replace(pipeline, seed=4)(0, 0)]
    assert len({prepared.image.tobytes() for prepared in images}) == 4


@pytest.mark.parametrize("size", [(64, 64), (48, 120), (200, 160), None])
def test_shapes_types_and_frames(size):
    pipeline = InstancePipeline(shapes(), FIT, EVERYTHING, size=size)
    assert len(pipeline) == 6
    for index in range(6):
        prepared = pipeline(0, index)
        assert prepared.image.dtype == np.float32
        assert prepared.image.flags.c_contiguous
        assert prepared.image.shape[0] == 3
        assert prepared.image.shape[1:] == prepared.truth.masks.size == prepared.placement.frame
        if size is not None:
            assert prepared.placement.frame == size
        np.testing.assert_array_equal(prepared.truth.boxes, prepared.truth.masks.boxes())
        assert (prepared.truth.masks.areas() >= EVERYTHING.min_area).all()
        assert (prepared.id, prepared.file) == (f"{index:05d}", f"{index}.png")


def test_image_and_truth_move_together_through_everything():
    """Objects are white on black: whatever is done to the picture's geometry, masks cover the white pixels."""
    white = []
    for sample in shapes(8).samples:
        union = np.any([sample.truth.masks.to_dense(k) for k in range(len(sample.truth))], axis=0)
        white.append(replace(sample, image=np.repeat(np.uint8(union)[..., None] * 255, 3, axis=2)))
    changes = replace(
        EVERYTHING, brightness=0, contrast=0, saturation=0, hue=0, blur=0, noise=0, min_area=0, min_visible=0
    )
    pipeline = plain_pipeline(Listed(tuple(white)), (72, 64), changes)
    wrong = total = 0
    for epoch in range(6):
        for index in range(8):
            prepared = pipeline(epoch, index)
            masks = prepared.truth.masks
            union = np.any([np.zeros((72, 64), bool)] + [masks.to_dense(k) for k in range(len(masks))], axis=0)
            wrong += (union ^ (prepared.image[0] >= 0.5)).sum()
            total += union.sum()
    assert wrong < 0.01 * total


def test_without_variation_it_is_the_prepared_picture():
    pipeline = InstancePipeline(shapes(), FIT, Augment.none())
    for index in range(3):
        found, expected = pipeline(0, index), prepare(shapes().samples[index], FIT)
        np.testing.assert_allclose(found.image, expected.image, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.truth.boxes, expected.truth.boxes, atol=1.01)


def test_padding_is_about_zero_after_normalisation():
    found = InstancePipeline(shapes(), replace(FIT, resize=Resize(40, 48)), Augment.none(), size=(64, 64))(0, 0)
    assert abs(found.image[:, 48:, 50:]).max() < 0.02
    assert abs(found.image[:, :30, :30]).max() > 0.3


def test_scale_follows_the_preprocessing():
    """Training sees objects at the size at which prediction will: 80 x 96 pictures at 160 pixels have them doubled."""
    double = replace(FIT, resize=Resize(160, 192))
    found = InstancePipeline(shapes(), double, Augment.none(), size=(160, 192))(0, 0)
    once = shapes().samples[0].truth
    np.testing.assert_allclose(found.truth.masks.areas() / once.masks.areas(), 4, rtol=0.05)


@pytest.mark.parametrize(
    ("channels", "dtype", "scale"), [(1, np.uint8, 255), (4, np.uint16, 65535), (13, np.float32, 1)]
)
def test_other_channels_and_types(channels, dtype, scale):
    samples = []
    for sample in shapes(4).samples:
        image = (sample.image[..., :1] / 255 * scale).astype(dtype)
        samples.append(replace(sample, image=np.repeat(image, channels, axis=2)))
    preprocess = Preprocess(channels, scale, (0.5,) * channels, (0.25,) * channels, Resize(64, 80))
    pipeline = InstancePipeline(Listed(tuple(samples)), preprocess, EVERYTHING, size=(64, 64))
    for index in range(4):
        image = pipeline(0, index).image
        assert image.shape == (channels, 64, 64)
        assert np.isfinite(image).all()
        assert 0.3 < image.std() < 3


def test_boxes_only_and_pictures_without_objects():
    boxes = Listed(tuple(replace(s, truth=replace(s.truth, masks=None)) for s in shapes().samples))
    bare = Listed(tuple(replace(s, truth=InstanceSet.empty(s.size)) for s in shapes().samples))
    for epoch in range(4):
        found = InstancePipeline(boxes, FIT, EVERYTHING, size=(64, 64))(epoch, 0).truth
        assert found.masks is None
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert found.boxes.max(initial=0) <= 64
        assert len(InstancePipeline(bare, FIT, EVERYTHING, size=(64, 64))(epoch, 0).truth) == 0


def test_crops_of_pictures_with_objects_keep_one():
    pipeline = InstancePipeline(shapes(size=(400, 400)), Preprocess(resize=Resize(400, 400)), Augment(), size=(48, 48))
    assert all(len(pipeline(epoch, index).truth) for epoch in range(5) for index in range(6))


def test_what_cannot_be_used_names_its_file():
    grey = np.zeros((20, 20, 2), np.uint8)
    words = np.zeros((20, 20, 3), np.uint16)
    for image, said in ((grey, "channels"), (words, "uint16")):
        sample = Sample(image, InstanceSet.empty((20, 20)), id="a", file="folder/a.png")
        with pytest.raises(DataError, match=rf"folder/a\.png: .*{said}"):
            InstancePipeline(Listed((sample,)), Preprocess(), Augment())(0, 0)
        with pytest.raises(DataError, match=rf"folder/a\.png: .*{said}"):
            prepare(sample, Preprocess())


def test_dark_crops_of_bright_float_pictures_are_no_error():
    image = np.zeros((200, 200, 3), np.float32)
    image[:10, :10] = 200
    image[150:, 150:] = 0.5
    pipeline = plain_pipeline(Listed((Sample(image, id="a"),)), (16, 16))
    assert max(float(pipeline(epoch, 0).image.max()) for epoch in range(60)) > 0


@pytest.mark.parametrize("rule", ["torchvision", "detectron2", "mmdet", "matterport", "none"])
def test_prepare_brings_truth_into_the_networks_frame(rule):
    sample = shapes().samples[1]
    prepared = prepare(sample, Preprocess(resize=Resize(100, 128, rule)))
    assert prepared.truth.masks.size == prepared.image.shape[1:]
    back = prepared.placement.boxes_to_original(prepared.truth.boxes)
    np.testing.assert_allclose(back, sample.truth.boxes, atol=1e-3)
    assert np.abs(prepared.truth.masks.boxes() - prepared.truth.boxes).max() <= 1.5
    assert (prepared.id, prepared.file) == (sample.id, sample.file)


def test_prepare_without_truth():
    assert prepare(Sample(shapes().samples[0].image), FIT).truth is None


def test_crowds_stay_crowds():
    masks = Masks.from_dense(np.ones((1, 80, 96), bool))
    truth = InstanceSet(masks.boxes(), np.array([0]), masks=masks, crowd=np.array([True]))
    pipeline = InstancePipeline(shapes(truth=truth), FIT, EVERYTHING, size=(64, 64))
    for epoch in range(6):
        assert pipeline(epoch, 0).truth.crowd.all()


def test_mixup_shows_two_pictures_and_the_objects_of_both():
    dataset = shapes(8)
    alone, mixed = plain_pipeline(dataset), plain_pipeline(dataset, augment=replace(Augment.none(), mixup=1.0))
    whole = [alone(0, index) for index in range(8)]
    for index in range(8):
        found = mixed(0, index)
        others = [one for one in whole if np.allclose(0.5 * (whole[index].image + one.image), found.image, atol=0.01)]
        assert len(others) == 1
        both = [*whole[index].truth.masks.to_rle(), *others[0].truth.masks.to_rle()]
        assert found.truth.masks.to_rle() == both and (found.id, found.placement.frame) == (whole[index].id, (80, 96))


def test_mosaic_and_mixup_leave_the_other_draws_alone_and_end_with_the_last_epochs():
    augment = Augment(mosaic=1.0, mixup=1.0, unmixed=0.25)
    dataset = shapes()
    mixed, plain = (InstancePipeline(dataset, FIT, own, seed=3) for own in (augment, Augment()))
    first = augment.mixed_epochs(8)
    assert (first, Augment(unmixed=0.5).mixed_epochs(8), Augment(mixup=0.1).mixed_epochs(20)) == (6, 8, 18)
    ending = Ending(mixed, plain, first)
    for epoch, expected in ((0, mixed), (5, mixed), (6, plain), (7, plain)):
        same(ending(epoch, 2), expected(epoch, 2))
    assert mixed(7, 2).image.tobytes() != plain(7, 2).image.tobytes()
