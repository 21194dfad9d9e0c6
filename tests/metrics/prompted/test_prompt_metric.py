"""What is said of answers to prompts, calculated by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from everymask.metrics.comparison import compare_scores
from everymask.metrics.instances import InstanceMetric
from everymask.metrics.prompted.metric import CLICKS, PromptedSet, PromptMetric
from everymask.metrics.prompted.scores import PromptScores

LABELS = labels_of(["cat", "dog"])


def truth_of(classes: list[int]) -> InstanceSet:
    """Squares of 10 x 10 pixels, one below the other; the last one is a crowd."""
    planes = np.zeros((len(classes), 10 * len(classes), 20), bool)
    for row in range(len(classes)):
        planes[row, 10 * row : 10 * row + 10, :10] = True
    masks = Masks.from_dense(planes)
    crowd = np.arange(len(classes)) == len(classes) - 1
    return InstanceSet(masks.boxes(), np.array(classes), masks=masks, crowd=crowd)


def answer_to(truth: InstanceSet, ious: list[list[float]]) -> PromptedSet:
    """Boxes are answered by masks that are 12 pixels wide; clicks as listed, after which nothing changes."""
    assert truth.masks is not None
    planes = np.array([truth.masks.to_dense(row) for row in range(len(ious))], bool).reshape(-1, *truth.masks.size)
    masks = Masks.from_dense(planes | np.roll(planes, 2, axis=2))
    clicked = np.array([row + row[-1:] * (CLICKS - len(row)) for row in ious], np.float32).reshape(-1, CLICKS)
    zeros = np.zeros(len(ious), np.int64)
    return PromptedSet(masks.boxes(), zeros, np.ones(len(ious), np.float32), masks, click_ious=clicked)


def metric_of(*pictures: tuple[list[int], list[list[float]]], start: int = 0) -> PromptMetric:
    metric = PromptMetric(LABELS)
    for number, (classes, ious) in enumerate(pictures, start):
        truth = truth_of([*classes, 0])
        sample = Sample(np.zeros((10 * len(classes) + 10, 20, 3), np.uint8), truth, f"{number}")
        metric.update(answer_to(truth, ious), truth, sample)
    return metric


TWO = ([0, 1], [[0.5, 0.84, 0.86], [0.9]]), ([1], [[0.1, 0.2]])


def test_the_numbers_are_those_of_the_definitions() -> None:
    scores = metric_of(*TWO).compute()
    numbers = scores.numbers()
    assert numbers["mIoU@1"] == scores.headline == pytest.approx((0.5 + 0.9 + 0.1) / 3)
    assert numbers["mIoU@3"] == pytest.approx((0.86 + 0.9 + 0.2) / 3)
    assert numbers["NoC85"] == pytest.approx((3 + 1 + CLICKS) / 3)
    assert numbers["NoC80"] == pytest.approx((2 + 1 + CLICKS) / 3)
    assert numbers["NoC90"] == pytest.approx((CLICKS + 1 + CLICKS) / 3)
    assert [scores.failures(iou) for iou in (0.8, 0.85, 0.9)] == [1, 1, 2]
    assert numbers["box mIoU"] == pytest.approx(10 / 12) and pytest.approx(1) == scores.boxed.AP50
    # An IoU of 0.833 passes the thresholds 0.50 to 0.80, seven of ten.
    assert numbers["box-prompt AP"] == pytest.approx(0.7)
    assert [(row.name, row.count) for row in scores.classes().rows] == [("cat", 1), ("dog", 2)]
    assert scores.classes().rows[1].scores[0] == pytest.approx(0.5)
    assert [row.score for row in scores.by_picture()] == pytest.approx([0.7, 0.1])


def test_parts_of_a_run_are_the_whole() -> None:
    whole, first, second = metric_of(*TWO), metric_of(TWO[0]), metric_of(TWO[1], start=1)
    second.merge(first)
    assert second.compute().to_json() == whole.compute().to_json()
    json.dumps(whole.compute().to_json(), allow_nan=False)
    with pytest.raises(ConfigError, match="set up alike"):
        first.merge(PromptMetric(labels_of(["cow"])))


def test_the_face_of_the_scores() -> None:
    scores = metric_of(*TWO).compute()
    assert set(scores.brief) <= scores.numbers().keys() and scores.mistakes() is None and not scores.curves()
    assert all(len(row) == len(table.columns) for table in scores.tables() for row in table.rows)
    assert "NoC85 8.00 on 2 pictures" in scores.sentence("2 pictures")
    assert len(scores.headlines()) == 3 and scores.num_pictures == 2
    low, high = scores.interval
    assert 0.1 <= low < scores.headline < high <= 0.7


def test_without_objects_nothing_is_defined() -> None:
    scores = metric_of(([], [])).compute()
    assert scores.numbers() == {} and np.isnan(scores.headline) and np.isnan(scores.by_picture()[0].score)
    json.dumps(scores.to_json(), allow_nan=False)
    assert scores.tables() and scores.headlines() and scores.sentence("1 picture")


def test_two_networks_are_compared_on_the_same_objects() -> None:
    def scores(better: float) -> PromptScores:
        return metric_of(*(([0], [[0.3 + better + number / 50]]) for number in range(8))).compute()

    found = compare_scores(scores(0), scores(0.2))
    assert found.name == "mIoU@1" and found.difference == pytest.approx(0.2) and found.p_value < 0.05
    with pytest.raises(DataError, match="different truths"):
        compare_scores(scores(0), metric_of(*(([1], [[0.3]]) for _ in range(8))).compute())
    with pytest.raises(ConfigError, match="clicks were scored"):
        scores(0).check_comparable(InstanceMetric(LABELS).compute())


def test_what_is_no_answer_to_this_truth_is_refused() -> None:
    truth = truth_of([0, 0])
    sample = Sample(np.zeros((20, 20, 3), np.uint8), truth, "a")
    answer = answer_to(truth, [[0.5]])
    for wrong in (truth, replace(answer, click_ious=None), answer[[0, 0]]):
        with pytest.raises(DataError, match="no answer to prompts"):
            PromptMetric(LABELS).update(wrong, truth, sample)
    metric = metric_of(([0], [[0.5]]))
    with pytest.raises(DataError, match="scored before"):
        metric.update(answer, truth, replace(sample, id="0"))
