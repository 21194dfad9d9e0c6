"""Training pictures of two dates: one geometry for both, a look for each, exchange and shift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.data.feed.augment import Augment
from everymask.data.feed.change_pipelines import ChangePipeline, shifted
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.change.files import read_change_pairs
from everymask.errors import ConfigError, DataError
from tests.data.change_files import write_places

PLAIN = Preprocess(3, 1.0, (0.0,) * 3, (1.0,) * 3, Resize(rule="none"), divisor=1, dates=2)
DRAW = rng(5, "two dates")


def marked() -> Sample:
    """The later date is the truth in bright, and the earlier one the same in darker: all three must move together."""
    ids = (DRAW.random((40, 40)) < 0.3).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    after = np.repeat(ids[..., None], 3, axis=2) * np.uint8(200)
    return Sample(after, ChangeMap(ids), "a", before=after // 2)


def pipeline(sample: Sample, augment: Augment, **options: object) -> ChangePipeline:
    return ChangePipeline([sample], PLAIN, augment, **options)  # type: ignore[arg-type]


def test_both_dates_and_the_truth_move_together() -> None:
    moves = replace(Augment.none(), flip=0.5, vertical=0.5, rotate=0.5)
    looks = set()
    for epoch in range(8):
        prepared = pipeline(marked(), moves, size=(48, 48))(epoch, 0)
        before, after = np.split(prepared.image, 2)
        assert isinstance(prepared.truth, ChangeMap)
        known = prepared.truth.ids != 255
        np.testing.assert_array_equal(after[0][known], 200.0 * prepared.truth.ids[known])
        np.testing.assert_array_equal(2 * before, after)
        looks.add(after.tobytes())
    assert len(looks) > 4


def test_the_look_of_each_date_is_drawn_apart() -> None:
    sample = replace(marked(), before=marked().image)
    same = Sample(sample.image, sample.truth, "a", before=sample.image)
    colours = replace(Augment.none(), brightness=0.4, contrast=0.4)
    before, after = np.split(pipeline(same, colours)(0, 0).image, 2)
    assert not np.allclose(before, after)


def test_dates_are_exchanged_and_truth_stays() -> None:
    sample, exchange = marked(), replace(Augment.none(), exchange=1.0)
    turned = pipeline(sample, exchange)(0, 0)
    np.testing.assert_array_equal(
        turned.image, np.concatenate(np.split(pipeline(sample, Augment.none())(0, 0).image, 2)[::-1])
    )
    half = pipeline(sample, replace(exchange, exchange=0.5))
    first = [bool(half(epoch, 0).image[:3].max() == 200) for epoch in range(40)]
    assert 8 < sum(first) < 32


def test_only_the_earlier_date_is_shifted_and_no_farther_than_asked() -> None:
    sample = marked()
    still = pipeline(sample, Augment.none())(0, 0).image
    found = pipeline(sample, replace(Augment.none(), shift=4.0))(0, 0).image
    np.testing.assert_array_equal(found[3:], still[3:])
    assert not np.array_equal(found[:3], still[:3])
    corner = np.zeros((9, 9, 1), np.uint8)
    corner[4, 4] = 100
    assert shifted(corner, 2, -1)[3, 6] == 100 and shifted(corner, 0, 0) is corner


def test_batches_follow_from_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    write_places(tmp_path)
    dataset = read_change_pairs(tmp_path)
    feeds = [ChangePipeline(each, PLAIN, Augment(), seed=1, size=(32, 32)) for each in (dataset, packed(dataset))]
    for index in range(3):
        first, second = (feed(2, index) for feed in feeds)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.truth.to_ids(), second.truth.to_ids())  # type: ignore[union-attr]
    assert list(packed(dataset).records) == list(dataset.records)
    shown = feeds[0].sample(2, 1)
    assert shown.before is not None and shown.image.shape == shown.before.shape == (32, 32, 3)


@pytest.mark.parametrize(("name", "value"), [("exchange", 1.5), ("exchange", -0.1), ("shift", -1.0)])
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(Augment(), **{name: value})


def test_a_network_is_fed_the_dates_that_it_compares() -> None:
    sample = marked()
    image = prepare(sample, PLAIN).image
    assert image.shape == (6, 80, 80) and image[3].max() == 200 and image[0].max() == 100
    with pytest.raises(DataError, match="takes two dates of a place, but got 1"):
        prepare(replace(sample, before=None), PLAIN)
    with pytest.raises(DataError, match="takes one picture, but got 2"):
        prepare(sample, replace(PLAIN, dates=1))
    for before in (sample.image[:-1], sample.image[..., :1], sample.image.astype(np.float32)):
        with pytest.raises(DataError, match="a: expected two dates of one size and type"):
            prepare(replace(sample, before=before), PLAIN)


def test_grey_dates_are_repeated_each_and_preprocessing_comes_back_from_json() -> None:
    grey = Sample(np.full((4, 4, 1), 7, np.uint8), before=np.full((4, 4, 1), 3, np.uint8))
    assert prepare(grey, PLAIN).image[:, 0, 0].tolist() == [3, 3, 3, 7, 7, 7]
    assert Preprocess.from_json(PLAIN.to_json()) == PLAIN
    single = replace(PLAIN, dates=1)
    assert "dates" not in single.to_json() and Preprocess.from_json(single.to_json()) == single
