"""F1 of change and its kin, by hand-made counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.data.change.coding import CHANGE
from everymask.errors import ConfigError, DataError
from everymask.metrics.change.metric import ChangeMetric
from everymask.metrics.change.scores import Counts


def picture(name: str, size: tuple[int, int]) -> Sample:
    return Sample(np.zeros((*size, 3), np.uint8), id=name)


def scored(*pairs: tuple[object, object], void: str = "ignored") -> ChangeMetric:
    metric = ChangeMetric(CHANGE, void=void)  # type: ignore[arg-type]
    for number, (found, true) in enumerate(pairs):
        prediction, truth = (np.array(ids, np.uint8) for ids in (found, true))
        metric.update(ChangeMap(prediction), ChangeMap(truth), picture(str(number), truth.shape))
    return metric


def test_the_numbers_of_tinycd_follow_from_its_counts() -> None:
    """The pixels that the published weights give on the samples of LEVIR-CD, and the scores stated for them."""
    counts = Counts(102_718, 7_807, 8_196, 602_175, 0, 0, 0)
    found = (counts.f1, counts.iou, counts.precision, counts.recall, counts.accuracy, counts.kappa)
    assert found == pytest.approx((0.927732, 0.865205, 0.929364, 0.926105, 0.977801, 0.914618), abs=1e-6)


def test_kappa_and_the_rest_equal_their_definitions() -> None:
    draw = rng(1, "kappa")
    true, found = draw.random((2, 40, 40)) < 0.2
    scores = scored((found, true)).compute()
    tp, fp, fn = (int(mask.sum()) for mask in (true & found, found & ~true, true & ~found))
    accuracy = (true == found).mean()
    chance = true.mean() * found.mean() + (1 - true.mean()) * (1 - found.mean())
    total = scores.total
    assert (total.tp, total.fp, total.fn, total.pixels) == (tp, fp, fn, 1600)
    assert total.kappa == pytest.approx((accuracy - chance) / (1 - chance))
    assert total.f1 == pytest.approx(2 * total.precision * total.recall / (total.precision + total.recall))
    assert total.iou == pytest.approx(total.f1 / (2 - total.f1))


def test_f1_is_of_all_pixels_together_and_no_mean() -> None:
    """A picture without change has no F1 of its own, and its false alarms count."""
    scores = scored(([[1, 1, 1, 1]], [[1, 1, 1, 1]]), ([[1, 0, 0, 0]], [[0, 0, 0, 0]]), ([[0]], [[0]])).compute()
    assert scores.headline == pytest.approx(8 / 9)
    own = [row.score for row in scores.by_picture()]
    assert own[:2] == [1.0, 0.0] and math.isnan(own[2])


def test_pixels_without_truth_are_ignored_or_wrong() -> None:
    pair = ([[1, 1, 0]], [[1, 255, 255]])
    assert scored(pair).compute().headline == 1
    assert scored(pair, void="wrong").compute().total.fp == 1


def test_every_class_but_the_first_has_changed() -> None:
    assert scored(([[0, 2, 1]], [[0, 1, 2]])).compute().headline == 1


def test_objects_are_matched_one_by_one() -> None:
    true, found = np.zeros((2, 20, 20), np.uint8)
    true[1:5, 1:5] = true[10:14, 10:14] = true[18, 1] = true[19, 2] = 1  # pieces that touch at corners are one
    found[1:5, 1:4] = found[10:14, 13:17] = found[7, 7] = 1
    total = scored((found, true)).compute().total
    assert (total.objects, total.found, total.matched) == (3, 3, 1)
    assert total.object_f1 == pytest.approx(1 / 3)


def test_parts_of_a_run_are_merged_and_nothing_twice() -> None:
    draw = rng(2, "merge")
    pairs = [tuple(draw.integers(0, 2, (2, 8, 8))) for _ in range(4)]
    whole, first, second = scored(*pairs), scored(*pairs[:2]), ChangeMetric(CHANGE)
    for number, (found, true) in enumerate(pairs[2:], 2):
        second.update(ChangeMap(found), ChangeMap(true), picture(str(number), (8, 8)))
    first.merge(second)
    assert first.compute().to_json() == whole.compute().to_json()
    with pytest.raises(DataError, match="was scored before"):
        first.merge(second)
    with pytest.raises(DataError, match="of one size"):
        first.update(ChangeMap(np.zeros((2, 2))), ChangeMap(np.zeros((2, 3))), picture("x", (2, 3)))
    with pytest.raises(ConfigError, match="void must be"):
        scored(void="maybe")
    with pytest.raises(ConfigError, match="set up alike"):
        first.merge(ChangeMetric(CHANGE, void="wrong"))


def test_the_interval_holds_the_score_and_is_narrower_with_more_pictures() -> None:
    draw = rng(3, "interval")

    def width(pictures: int) -> float:
        pairs = []
        for _ in range(pictures):
            true = draw.random((16, 16)) < 0.3
            pairs.append((true ^ (draw.random((16, 16)) < draw.uniform(0, 0.2)), true))
        scores = scored(*pairs).compute()
        low, high = scores.interval
        assert low < scores.headline < high
        return high - low

    assert width(80) < width(8)
    assert all(map(math.isnan, ChangeMetric(CHANGE).compute().interval))
