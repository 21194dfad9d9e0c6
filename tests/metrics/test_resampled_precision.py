"""AP of other choices of pictures equals AP of a data set in which these pictures stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import InstanceSet
from everymask.metrics.bootstrap import draws
from everymask.metrics.instances import InstanceMetric, InstanceScores
from everymask.metrics.resampled_precision import resampled_ap
from tests.metrics.samples import named

LABELS = labels_of(["a", "b", "c"])
SIZE = (100, 100)


def picture(index: int) -> tuple[InstanceSet, InstanceSet]:
    """Boxes of three classes, found nearly, doubled or not at all; some are crowds."""
    draw = rng(index, "boxes")
    corners = draw.integers(0, 70, (6, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + draw.integers(10, 30, (6, 2))], axis=1).astype(np.float32)
    class_ids = draw.integers(0, 3, 6)
    truth = InstanceSet(boxes, class_ids, crowd=draw.random(6) < 0.1)
    rows = draw.integers(0, 6, 8)
    moved = boxes[rows] + draw.normal(0, 1.5, (8, 4)).astype(np.float32)
    scores = draw.random(8).astype(np.float32)
    found = np.where(draw.random(8) < 0.8, class_ids[rows], draw.integers(0, 3, 8))
    return InstanceSet(moved, found, scores), truth


def scored(indices: list[int]) -> InstanceScores:
    metric = InstanceMetric(LABELS, masks=False)
    for place, index in enumerate(indices):
        metric.update(*picture(index), named(f"{index:03}-{place:03}", SIZE))
    return metric.compute()


def test_every_picture_once_is_cocos_number() -> None:
    scores = scored(list(range(12)))
    assert 0.05 < scores.box.AP < 0.95
    assert resampled_ap(scores.outcomes, np.ones((1, 12)))[0] == pytest.approx(scores.box.AP, abs=1e-12)


def test_a_picture_that_is_drawn_twice_counts_as_two() -> None:
    scores = scored(list(range(6)))
    times = np.array([[2, 0, 1, 3, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 6, 0, 0, 0]])
    expected = [scored([index for index, count in enumerate(row) for _ in range(count)]).box.AP for row in times]
    np.testing.assert_allclose(resampled_ap(scores.outcomes, times.astype(np.float64)), expected, atol=1e-12)


def test_a_draw_without_objects_has_no_number() -> None:
    found, truth = picture(0)
    metric = InstanceMetric(LABELS, masks=False)
    metric.update(found, truth, named("some", SIZE))
    metric.update(found, replace(truth, crowd=np.ones(6, bool)), named("crowds only", SIZE))
    outcomes = metric.compute().outcomes
    ap = resampled_ap(outcomes, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isnan(ap).tolist() == [True, False], "crowds only comes first"


@pytest.mark.parametrize("at_once", [1, 7, None])
def test_the_same_seed_draws_the_same_pictures_however_many_at_a_time(at_once: int | None) -> None:
    together = np.concatenate(list(draws(9, 50, 3)))
    np.testing.assert_array_equal(np.concatenate(list(draws(9, 50, 3, at_once))), together)
    assert (together.sum(axis=1) == 9).all()
