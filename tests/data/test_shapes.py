"""The synthetic set is always the same for a seed, learnable, and its masks are exact."""

import numpy as np
import pytest

from everymask.data.formats.coco.instances import read_coco
from everymask.data.shapes import LABELS, ShapesConfig, draw_shapes, write_shapes
from everymask.errors import ConfigError

CONFIG = ShapesConfig(40, (96, 128), max_objects=5, seed=7)


@pytest.fixture(scope="module")
def drawn():
    return [draw_shapes(CONFIG, index) for index in range(CONFIG.pictures)]


def test_a_seed_and_an_index_name_a_picture(drawn):
    again = draw_shapes(CONFIG, 3)
    np.testing.assert_array_equal(again.image, drawn[3].image)
    assert again.truth.masks.to_rle() == drawn[3].truth.masks.to_rle()
    assert not np.array_equal(draw_shapes(ShapesConfig(40, (96, 128), 5, seed=8), 3).image, drawn[3].image)
    assert not np.array_equal(drawn[4].image, drawn[3].image)


def test_counts_classes_and_frames(drawn):
    assert {len(sample.truth) for sample in drawn} == {1, 2, 3, 4, 5}
    assert {int(k) for sample in drawn for k in sample.truth.class_ids} == set(range(len(LABELS)))
    for sample in drawn:
        assert sample.image.shape == (96, 128, 3)
        assert sample.image.dtype == np.uint8
        assert sample.truth.masks.size == (96, 128)
        np.testing.assert_array_equal(sample.truth.boxes, sample.truth.masks.boxes())


def test_masks_do_not_overlap_and_are_large_enough(drawn):
    for sample in drawn:
        count = sum(sample.truth.masks.to_dense(k).astype(int) for k in range(len(sample.truth)))
        assert count.max() == 1
        assert sample.truth.masks.areas().min() > 0.004 * 96 * 128


def test_masks_are_where_one_colour_is(drawn):
    for sample in drawn:
        for row in range(len(sample.truth)):
            mask = sample.truth.masks.to_dense(row)
            assert sample.image[mask].std(axis=0).min() < 13


def test_whole_shapes_have_the_area_of_their_class(drawn):
    alone = [sample for sample in drawn if len(sample.truth) == 1]
    assert len(alone) >= 3
    for sample in alone:
        mask = sample.truth.masks.to_dense(0)
        y, x = np.nonzero(mask)
        radius = np.hypot(y - y.mean(), x - x.mean()).max() + 0.5
        filled = mask.sum() / (np.pi * radius**2)
        expected = {"circle": 1.0, "square": 2 / np.pi, "triangle": 3 * 3**0.5 / 4 / np.pi}
        assert abs(filled - expected[LABELS.names[sample.truth.class_ids[0]]]) < 0.12


def test_vivid_shapes_are_brighter_than_what_lies_behind():
    config = ShapesConfig(8, (96, 128), 3, seed=7, vivid=True)
    for index in range(config.pictures):
        sample = draw_shapes(config, index)
        masks = [sample.truth.masks.to_dense(row) for row in range(len(sample.truth.masks))]
        saturation = np.ptp(sample.image.astype(int), axis=2)
        behind = np.median(saturation[~np.any(masks, axis=0)])
        assert all(np.median(saturation[mask]) > behind + 30 for mask in masks)


def test_written_sets_are_read_back(tmp_path):
    written = write_shapes(tmp_path / "shapes", train=6, val=3, seed=2, size=64)
    found = read_coco(tmp_path / "shapes")
    assert found.splits() == {"train": 6, "val": 3}
    assert found.labels.names == LABELS.names
    assert found.issues == ()
    for split in ("train", "val"):
        for one, other in zip(written.split(split), found.split(split), strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            assert one.truth.masks.to_rle() == other.truth.masks.to_rle()
            assert one.truth.class_ids.tolist() == other.truth.class_ids.tolist()
    expected = draw_shapes(ShapesConfig(9, (64, 64), seed=2), 1)
    np.testing.assert_array_equal(found.split("val")[1].image, expected.image)


def test_validation_pictures_do_not_depend_on_the_number_of_training_pictures(tmp_path):
    few, many = (write_shapes(tmp_path / str(train), train=train, val=2, size=48) for train in (1, 4))
    for one, other in zip(few.split("val"), many.split("val"), strict=True):
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("wrong", [{"pictures": 0}, {"size": (128, 8)}, {"max_objects": 0}])
def test_settings_that_cannot_be_used(wrong):
    with pytest.raises(ConfigError):
        ShapesConfig(**wrong)
