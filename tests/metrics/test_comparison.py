"""Intervals and tests by resampling pictures: what they say is checked on data whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.areas import Areas
from everymask.metrics.bootstrap import mean_iou_interval
from everymask.metrics.comparison import compare_scores
from everymask.metrics.semantic import SemanticMetric, SemanticScores, Void
from tests.metrics.samples import named

LABELS = labels_of(["background", "cell"])


def scores(right: float, seed: int, *, pictures: int = 40, start: int = 0, void: Void = "ignored") -> SemanticScores:
    """A model that is right on a share `right` of the pixels of each picture, give or take some."""
    metric = SemanticMetric(LABELS, void=void)
    for index in range(start, start + pictures):
        truth = rng(index, "truth").integers(2, size=(16, 16)).astype(np.uint8)
        draw = rng(seed, index, "model")
        wrong = draw.random((16, 16)) > np.clip(draw.normal(right, 0.05), 0, 1)
        metric.update(
            SemanticMap(np.where(wrong, 1 - truth, truth)), SemanticMap(truth), named(f"{index:03}", truth.shape)
        )
    return metric.compute()


def test_the_interval_is_that_of_all_resamples_where_these_can_be_listed() -> None:
    """Two pictures have three resamples (1/4, 1/2, 1/4), so that the interval goes from the worse to the better."""
    areas = Areas(np.array([[2], [6]]), np.array([[8], [8]]), np.array([[2], [6]]))
    assert mean_iou_interval(areas) == (0.25, 0.75)


def test_the_interval_is_as_wide_as_the_spread_of_the_pictures_says() -> None:
    """Pictures of equal union: mIoU is a plain mean, whose standard error is known."""
    common = rng(1, "common").integers(200, 800, size=(400, 1))
    low, high = mean_iou_interval(Areas(common, np.full((400, 1), 1000), common), resamples=4000)
    error = (common / 1000).std() / math.sqrt(400)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.05)
    assert low < common.mean() / 1000 < high
    assert (low, high) == mean_iou_interval(Areas(common, np.full((400, 1), 1000), common), resamples=4000)


def test_one_picture_says_nothing_about_others() -> None:
    one = scores(0.9, 0, pictures=1)
    assert all(map(math.isnan, one.interval))
    assert "(95 % interval not defined)" in one.sentence("1 picture")
    assert "95 % interval not defined" in one.headlines()[0].note
    with pytest.raises(DataError, match="at least 2 pictures"):
        compare_scores(scores(0.9, 0, pictures=1), scores(0.9, 1, pictures=1))


def test_a_class_that_a_resample_does_not_show_is_left_out_of_its_mean() -> None:
    areas = Areas(np.array([[5, 0], [0, 5]]), np.array([[5, 0], [0, 5]]), np.array([[5, 0], [0, 5]]))
    assert mean_iou_interval(areas) == (1, 1)


def test_a_difference_is_told_from_luck() -> None:
    better = compare_scores(scores(0.80, 0), scores(0.87, 1))
    assert better.p_value < 0.001
    assert 0 < better.low < better.difference < better.high
    assert better.difference == better.second - better.first
    worse = compare_scores(scores(0.87, 1), scores(0.80, 0))
    assert (worse.low, worse.high, worse.p_value) == pytest.approx((-better.high, -better.low, better.p_value))


@pytest.mark.parametrize(("pictures", "smallest"), [(2, 0.5), (5, 1 / 16), (6, 1 / 32), (12, 2 / 4096)])
def test_what_so_few_pictures_cannot_show_is_not_claimed(pictures: int, smallest: float) -> None:
    """All signs of n pictures agree by chance 2 times in 2 ** n."""
    found = compare_scores(scores(0.80, 0, pictures=pictures), scores(0.95, 1, pictures=pictures))
    assert found.smallest_p == smallest
    assert found.p_value >= smallest
    defined = smallest < 0.05
    assert math.isnan(found.low) != defined
    assert (found.to_json()["high"] is not None) == defined
    assert ("cannot show one" in found.verdict) != defined


def test_equal_models_do_not_differ() -> None:
    same = compare_scores(scores(0.8, 0), scores(0.8, 0))
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    values = [compare_scores(scores(0.8, seed), scores(0.8, seed + 100), resamples=500).p_value for seed in range(20)]
    assert sum(value < 0.05 for value in values) <= 4, "about one in twenty"
    assert max(values) > 0.5


def test_pairing_finds_what_two_intervals_do_not_show() -> None:
    """One model is a little worse in every picture, while pictures differ among themselves by far more."""
    base = rng(0, "hard").integers(300, 900, size=(50, 1))
    metrics = []
    for lost in (0, 10):
        metric = SemanticMetric(labels_of("a"))
        for index, right in enumerate((base - lost)[:, 0]):
            truth = np.zeros((1, 1000), np.uint8)
            found = np.where(np.arange(1000) < right, 0, 255).astype(np.uint8)[None]
            metric.update(SemanticMap(found), SemanticMap(truth), named(f"{index:03}", truth.shape))
        metrics.append(metric.compute())
    assert metrics[0].interval[0] < metrics[1].mean_iou, "the intervals overlap"
    assert compare_scores(*metrics).p_value < 0.001


def test_only_scores_on_the_same_pictures_are_compared() -> None:
    first = scores(0.8, 0)
    with pytest.raises(DataError, match="20 pictures of 50"):
        compare_scores(first, scores(0.8, 1, start=10))
    with pytest.raises(ConfigError, match="ignored in the first scores, wrong"):
        compare_scores(first, scores(0.8, 1, void="wrong"))
    metric = SemanticMetric(LABELS)
    for picture in first.pictures:
        metric.update(
            SemanticMap(np.zeros((16, 16), int)), SemanticMap(np.zeros((16, 16), int)), named(picture.id, (16, 16))
        )
    with pytest.raises(DataError, match="different truths"):
        compare_scores(first, metric.compute())
