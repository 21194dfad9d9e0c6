"""Training pictures of panoptic maps: picture and map move together, exactly, and nothing is invented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.segmentation import PanopticMap
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment
from everymask.data.feed.panoptic_pipelines import PanopticPipeline
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.scenery import write_scenes
from everymask.errors import ConfigError

PREPROCESS = Preprocess(3, mean=(0.5,) * 3, std=(0.25,) * 3, resize=Resize(1, 512, "shrink"))
STILL = Augment.none()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_scenes(tmp_path_factory.mktemp("scenes"), train=3, val=1, size=64)


def test_the_set_is_read_as_it_was_drawn(scenes: Dataset) -> None:
    assert (scenes.format, scenes.splits(), scenes.issues) == ("coco-panoptic", {"train": 3, "val": 1}, ())
    assert scenes.labels.names[-3:] == ("sky", "ground", "water") and scenes.labels.things == {0, 1, 2}
    for row in range(4):
        found = scenes.panoptic_map(row)
        assert found.ids.all()
        assert {3, 4} <= {one.class_id for one in found.segments}


def test_without_variation_it_is_the_picture_and_its_map(scenes: Dataset) -> None:
    pipeline = PanopticPipeline(scenes, PREPROCESS, STILL)
    sample, truth = pipeline.sample(0, 1), scenes.panoptic_map(1)
    assert np.array_equal(sample.image, scenes[1].image)
    found = sample.truth
    assert isinstance(found, PanopticMap) and found.ids.dtype == np.uint8
    assert [one.class_id for one in found.segments] == [one.class_id for one in truth.segments]
    assert np.array_equal(
        found.looked_up([one.class_id for one in found.segments], 255),
        truth.looked_up([one.class_id for one in truth.segments], 255),
    )


def test_mirrored_and_turned_both_are(scenes: Dataset) -> None:
    """Where the grey of a picture is its segment's number, it still is after any exact variation."""
    samples = [replace(s, image=np.repeat(s.truth.renumbered().ids[..., None] * 9, 3, axis=2)) for s in scenes]
    pipeline = PanopticPipeline(samples, PREPROCESS, replace(STILL, flip=0.5, vertical=0.5, rotate=0.7), size=(64, 64))
    seen = set()
    for epoch in range(12):
        sample = pipeline.sample(epoch, 0)
        assert np.array_equal(sample.image[..., 0], sample.truth.ids * 9)
        seen.add(sample.truth.ids.tobytes())
    assert len(seen) > 4


def test_what_is_filled_up_has_no_truth_and_little_is_a_crowd(scenes: Dataset) -> None:
    small = PanopticPipeline(scenes, PREPROCESS, replace(STILL, scale=(0.5, 0.5)), size=(64, 64))
    prepared = small(0, 0)
    assert prepared.truth.ids[32:].max() == prepared.truth.ids[:, 32:].max() == 0 and prepared.truth.ids[:32, :32].all()
    cut = PanopticPipeline(scenes, PREPROCESS, replace(STILL, min_visible=0.9), size=(24, 24))
    crowds = [one.crowd for epoch in range(8) for one in cut(epoch, 0).truth.segments]
    assert any(crowds) and not all(crowds)
    for one in PanopticPipeline(scenes, PREPROCESS, STILL)(0, 0).truth.segments:
        assert not one.crowd


def test_what_is_drawn_depends_on_epoch_and_index_alone(scenes: Dataset) -> None:
    pipeline = PanopticPipeline(scenes, PREPROCESS, Augment(), seed=3, size=(48, 48))
    first, again, later = pipeline(1, 2), pipeline(1, 2), pipeline(2, 2)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.truth.ids, again.truth.ids)
    assert not np.array_equal(first.image, later.image)


@pytest.mark.parametrize("name", ["mosaic", "mixup", "copy_paste", "elastic"])
def test_variations_of_other_truths_are_refused(scenes: Dataset, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        PanopticPipeline(scenes, PREPROCESS, replace(STILL, **{name: 0.5}))


def test_the_validation_pictures_do_not_depend_on_the_number_of_others(tmp_path: Path, scenes: Dataset) -> None:
    other = write_scenes(tmp_path, train=1, val=1, size=64).split("val")
    assert np.array_equal(other[0].image, scenes.split("val")[0].image)
