"""Training pictures with label maps: both move together, nothing outside has truth, everything is drawn by the key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.data.feed.augment import Augment
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import InstancePipeline, prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.feed.resample import warped_picture
from everymask.data.feed.semantic_augment import (
    deformed,
    displacements,
    semantic_augment,
    varied_window,
)
from everymask.data.feed.semantic_pipelines import SemanticPipeline
from everymask.data.feed.views import View
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.table import read_dataset
from everymask.errors import ConfigError
from tests.data.semantic_files import blobs, make_semantic

AS_IT_IS = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3, resize=Resize(1, 9999, "none"))
STILL = replace(Augment.none(), category_max=0.0)


def marked(size=(48, 64), classes=4) -> Sample:
    """A picture whose brightness is 60 times its class, so that what belongs together can be seen."""
    ids = blobs(classes, size)
    return Sample(np.repeat(ids[..., None] * np.uint8(60), 3, axis=2), SemanticMap(ids), "a")


def pipeline(augment, size=(40, 40), sample=None, preprocess=AS_IT_IS):
    return SemanticPipeline([sample or marked()], preprocess, augment, seed=3, size=size)


VARIED = {
    "nothing": STILL,
    "mirror": replace(STILL, flip=1.0, vertical=1.0),
    "quarter turns": replace(STILL, rotate=1.0),
    "scale": replace(STILL, scale=(0.5, 2.0)),
    "angle": replace(STILL, angle=40.0),
    "elastic": replace(STILL, elastic=1.0, elastic_sigma=4.0),
    "all": replace(STILL, flip=0.5, rotate=0.5, scale=(0.5, 2.0), angle=20.0, elastic=0.5, elastic_sigma=3.0),
}


@pytest.mark.parametrize("name", VARIED)
def test_picture_and_label_map_move_together(name):
    for epoch in range(6):
        found = pipeline(VARIED[name]).sample(epoch, 0)
        ids, image = found.truth.ids, found.image[..., 0].astype(int)
        assert image.shape == ids.shape == (40, 40) and ids.dtype == np.uint8
        known = ids != 255
        assert known.mean() > 0.3
        right = {
            (down, across): (np.abs(np.roll(image, (down, across), (0, 1)) - 60 * ids.astype(int)) <= 30)[known].mean()
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
        }
        assert max(right, key=right.get) == (0, 0), "picture and map lie one over the other"
        # Interpolation and averaging mix the classes along their borders alone.
        around = [np.roll(ids, (down, across), (0, 1)) for down, across in right]
        inside = known & (np.stack(around) == ids).all(axis=0)
        assert (np.abs(image - 60 * ids.astype(int)) <= 30)[inside].mean() > 0.99


def test_without_variation_and_size_the_picture_comes_as_it_is():
    found = pipeline(STILL, size=None)(0, 0)
    assert (found.truth.ids == marked().truth.ids).all()
    assert np.allclose(found.image * 255, marked().image.transpose(2, 0, 1))


def test_what_is_filled_up_has_no_truth_and_is_about_zero():
    preprocess = Preprocess(resize=Resize(1, 9999, "none"))
    found = pipeline(STILL, size=(64, 80), preprocess=preprocess)(0, 0)
    outside = np.ones((64, 80), bool)
    outside[:48, :64] = False
    assert ((found.truth.ids == 255) == outside).all()
    assert np.abs(found.image[:, outside]).max() < 0.02


def test_the_same_key_gives_the_same_picture_and_another_epoch_another():
    varied = replace(VARIED["all"], brightness=0.3, blur=0.5, noise=0.5)
    first, again = (pipeline(varied)(2, 0) for _ in range(2))
    assert (first.image == again.image).all() and (first.truth.ids == again.truth.ids).all()
    assert (first.image != pipeline(varied)(3, 0).image).any()


def test_a_crop_that_one_class_fills_is_drawn_anew():
    ids = np.zeros((60, 400), np.uint8)
    ids[:, 370:] = 1
    truth = SemanticMap(ids)
    for seed in range(20):
        window, size = varied_window(truth, (60, 60), (1.0, 1.0), rng(seed), 0.0)
        assert size == (60, 60) and window[2] - window[0] == 60
    shares = [
        np.mean(ids[:, x1:x2] == 0)
        for x1, _, x2, _ in (varied_window(truth, (60, 60), (1.0, 1.0), rng(seed), 0.75)[0] for seed in range(60))
    ]
    at_random = [
        np.mean(ids[:, x1:x2] == 0)
        for x1, _, x2, _ in (varied_window(truth, (60, 60), (1.0, 1.0), rng(seed), 0.0)[0] for seed in range(60))
    ]
    assert np.mean(np.array(shares) < 0.75) > 2 * np.mean(np.array(at_random) < 0.75)


def test_a_turn_by_degrees_shows_no_truth_where_it_shows_no_picture():
    ids = blobs(4, (40, 40))
    image = np.dstack([ids * np.uint8(50)] * 6)
    turn = View(1.0, degrees=90.0).warp((0, 0, 40, 40), (40, 40), (40, 40))
    assert (SemanticMap(ids).warped(turn).ids == np.rot90(ids)).all()
    assert (warped_picture(image, turn, "none", np.zeros(6))[0] == np.rot90(image)).all()
    half = View(1.0, degrees=45.0).warp((0, 0, 40, 40), (40, 40), (40, 40))
    assert (SemanticMap(ids).warped(half).ids[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    corners = warped_picture(image, half, "none", np.full(6, 7))[0][[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 7).all()


def test_no_displacement_changes_nothing_and_some_moves_pixels_of_any_number_of_channels():
    image = rng(0, "image").integers(0, 256, (30, 40, 7), np.uint8)
    assert (deformed(image, np.zeros((2, 30, 40), np.float32)) == image).all()
    field = np.zeros((2, 30, 40), np.float32)
    field[0] = 3
    assert (deformed(image, field)[:, :37] == image[:, 3:]).all()
    assert (deformed(blobs(4, (30, 40)), field)[:, :37] == blobs(4, (30, 40))[:, 3:]).all()
    drawn = displacements((300, 400), 10.0, rng(1))
    assert drawn.shape == (2, 300, 400) and 3 < np.abs(drawn).mean() < 20


def test_prepare_brings_the_label_map_into_the_frame():
    sample = marked((48, 64))
    found = prepare(sample, replace(AS_IT_IS, resize=Resize(24, 9999)))
    assert found.truth.ids.shape == found.image.shape[1:] == (24, 32)
    assert (np.abs(found.image[0] * 255 - 60.0 * found.truth.ids) <= 30).mean() > 0.9
    square = prepare(sample, replace(AS_IT_IS, resize=Resize(48, 64, "matterport")))
    x1, y1, x2, y2 = square.placement.inside
    assert (square.truth.ids[y1:y2, x1:x2] == sample.truth.ids).all()
    assert (square.truth.ids == 255).sum() == 64 * 64 - 48 * 64
    assert found.truth.ids.dtype == np.uint8


@pytest.mark.parametrize("change", [{"mosaic": 0.5}, {"mixup": 0.5}, {"copy_paste": 0.5}])
def test_what_moves_objects_is_refused(change):
    with pytest.raises(ConfigError, match="label maps"):
        pipeline(replace(STILL, **change))


@pytest.mark.parametrize("change", [{"angle": 5.0}, {"elastic": 0.5}])
def test_what_moves_label_maps_is_refused_for_objects(change):
    with pytest.raises(ConfigError, match="objects"):
        InstancePipeline([], AS_IT_IS, replace(STILL, **change))


@pytest.mark.parametrize("change", [{"angle": 181.0}, {"elastic": 1.5}, {"category_max": 2.0}, {"elastic_sigma": -1.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        Augment(**change)


def test_a_data_set_of_files_packed_or_not(tmp_path):
    dataset = make_semantic(tmp_path, labels_of(["a", "b", "c"]))
    augment = semantic_augment()
    plain, small = (SemanticPipeline(found, AS_IT_IS, augment, 1, (32, 32)) for found in (dataset, packed(dataset)))
    assert tuple(packed(dataset).records) == dataset.records
    for index in range(4):
        ours, theirs = plain(0, index), small(0, index)
        assert (ours.image == theirs.image).all() and (ours.truth.ids == theirs.truth.ids).all()
    for maps in (dataset, packed(dataset)):
        with pytest.raises(ConfigError, match="objects were asked for"):
            InstancePipeline(maps, AS_IT_IS, Augment(), 1, (32, 32))(0, 0)


def test_both_pipelines_look_at_a_picture_alike():
    """One draw says how far it is resized, how it is turned and mirrored, whatever its truth is."""
    plain = replace(marked(), truth=InstanceSet.empty((48, 64)))
    varied = replace(STILL, rotate=0.5, flip=0.5, vertical=0.5)
    for epoch in range(8):
        objects = InstancePipeline([plain], AS_IT_IS, varied, seed=3).sample(epoch, 0)
        np.testing.assert_array_equal(objects.image, pipeline(varied, size=None).sample(epoch, 0).image)


def test_a_painted_data_set_and_pictures_of_many_channels(shared, tmp_path):
    found = read_dataset(shared / "nuclei_one_mask_per_file", task="semantic")
    prepared = SemanticPipeline(found, AS_IT_IS, semantic_augment(), 1, (64, 64))(0, 3)
    assert prepared.image.shape == (3, 64, 64) and set(np.unique(prepared.truth.ids)) <= {0, 1, 255}
    sample = Sample(np.zeros((40, 40, 13), np.uint16) + np.uint16(9), SemanticMap(blobs(size=(40, 40))), "a")
    many = Preprocess(13, 65535.0, (0.0,) * 13, (1.0,) * 13, Resize(1, 9999, "none"))
    assert pipeline(VARIED["all"], sample=sample, preprocess=many)(0, 0).image.shape == (13, 40, 40)


def test_the_fingerprint_measures_the_classes(tmp_path):
    dataset = make_semantic(tmp_path, labels_of(["a", "b", "c"]))
    found = fingerprint(dataset, seed=0)
    pixels = np.sum([record.truth.pixels for record in dataset.records], axis=0)
    assert found.class_shares == pytest.approx(tuple(pixels / pixels.sum()), abs=1e-6)
    assert (found.object_sizes, found.max_objects) == ((), 0)
