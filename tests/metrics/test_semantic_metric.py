"""Overlap of label maps: equal to torchmetrics, by Cityscapes' rule for void, and independent of order and parts."""

from __future__ import annotations

import json
import math
import tracemalloc
from types import ModuleType

import numpy as np
import pytest
import torch

from everymask.core.labels import Labels, labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.metrics.semantic import SemanticMetric, SemanticScores
from tests.metrics.samples import named

LABELS = labels_of("abcde")
VOID = LABELS.ignore


def maps(index: int, size: tuple[int, int] = (23, 31), classes: int = 5) -> tuple[SemanticMap, SemanticMap]:
    """A truth with void, and a prediction that is right at about half of its pixels."""
    draw = rng(index, "maps")
    truth = draw.integers(classes, size=size).astype(np.uint8)
    found = np.where(draw.random(size) < 0.5, truth, draw.integers(classes, size=size)).astype(np.uint8)
    truth[draw.random(size) < 0.1] = VOID
    return SemanticMap(found), SemanticMap(truth)


def scored(*pairs: tuple[SemanticMap, SemanticMap], labels: Labels = LABELS, **options: str) -> SemanticScores:
    metric = SemanticMetric(labels, **options)
    for index, (found, truth) in enumerate(pairs):
        metric.update(found, truth, named(f"{index:03}", truth.size))
    return metric.compute()


def of(found: list[list[int]], truth: list[list[int]]) -> tuple[SemanticMap, SemanticMap]:
    return SemanticMap(np.array(found, np.uint8)), SemanticMap(np.array(truth, np.uint8))


def test_every_number_is_that_of_torchmetrics(classification: ModuleType) -> None:
    pairs = [maps(index) for index in range(4)]
    scores = scored(*pairs)
    found, truth = (torch.from_numpy(np.stack([pair[k].ids for pair in pairs])).long() for k in (0, 1))
    given = {"num_classes": 5, "ignore_index": VOID}

    def reference(name: str, average: str) -> np.ndarray:
        return getattr(classification, f"multiclass_{name}")(found, truth, average=average, **given).numpy()

    np.testing.assert_array_equal(
        scores.confusion[:5, :5], classification.multiclass_confusion_matrix(found, truth, **given).numpy()
    )
    for name, column in (("jaccard_index", "iou"), ("f1_score", "dice"), ("accuracy", "accuracy")):
        own = [getattr(row, column) for row in scores.per_class.values()]
        np.testing.assert_allclose(own, reference(name, "none"), atol=1e-6)
    assert scores.mean_iou == pytest.approx(reference("jaccard_index", "macro"), abs=1e-6)
    assert scores.frequency_weighted_iou == pytest.approx(reference("jaccard_index", "weighted"), abs=1e-6)
    assert scores.mean_dice == pytest.approx(reference("f1_score", "macro"), abs=1e-6)
    assert scores.mean_accuracy == pytest.approx(reference("accuracy", "macro"), abs=1e-6)
    assert scores.pixel_accuracy == pytest.approx(reference("accuracy", "micro"), abs=1e-6)


def test_pixels_without_truth_count_nowhere_or_as_errors() -> None:
    pair = of([[0, 0, 1, 1]], [[0, VOID, 1, VOID]])
    assert scored(pair).mean_iou == scored(pair).pixel_accuracy == 1
    wrong = scored(pair, void="wrong")
    assert wrong.per_class["a"].iou == wrong.per_class["b"].iou == wrong.pixel_accuracy == 0.5
    assert wrong.per_class["a"].accuracy == 1
    assert wrong.confusion[-1].tolist() == [1, 1, 0, 0, 0, 0]


def test_a_pixel_of_which_nothing_is_said_is_missed() -> None:
    scores = scored(of([[0, VOID, 1, VOID]], [[0, 0, 1, VOID]]))
    assert scores.per_class["a"].iou == 0.5
    assert scores.per_class["b"].iou == 1
    assert scores.pixel_accuracy == pytest.approx(2 / 3)


def test_classes_that_nobody_shows_are_left_out_of_means() -> None:
    scores = scored(of([[0, 0, 2, 2]], [[0, 0, 0, 0]]))
    rows = scores.per_class
    assert rows["a"].iou == rows["a"].accuracy == 0.5
    assert rows["c"].iou == 0 and math.isnan(rows["c"].accuracy), "invented: an IoU of 0, but no truth to be found"
    assert all(math.isnan(rows[name].iou) for name in "bde")
    assert (scores.mean_iou, scores.mean_accuracy, scores.frequency_weighted_iou) == (0.25, 0.5, 0.5)


def test_neither_order_nor_parts_change_a_score() -> None:
    pairs = [maps(index) for index in range(6)]
    parts = [SemanticMetric(LABELS), SemanticMetric(LABELS)]
    for index in (5, 2, 0, 4, 1, 3):
        parts[index % 2].update(*pairs[index], named(f"{index:03}", pairs[index][0].size))
    parts[0].merge(parts[1])
    assert parts[0].compute().to_json() == scored(*pairs).to_json()
    with pytest.raises(DataError, match="'005' was scored before"):
        parts[0].merge(parts[1])
    with pytest.raises(ConfigError, match="void"):
        parts[0].merge(SemanticMetric(LABELS, void="wrong"))


def test_each_picture_has_its_own_score() -> None:
    scores = scored(of([[0, 1]], [[0, 1]]), of([[1, 1]], [[0, 1]]), of([[1, 1]], [[VOID, VOID]]))
    assert [(row.mean_iou, row.pixel_accuracy) for row in scores.pictures[:2]] == [(1, 1), (0.25, 0.5)]
    assert math.isnan(scores.pictures[2].mean_iou) and math.isnan(scores.pictures[2].pixel_accuracy)


def test_no_truth_at_all_is_no_score_and_still_json() -> None:
    for scores in (scored(), scored(of([[0, 1]], [[VOID, VOID]]))):
        assert math.isnan(scores.mean_iou) and math.isnan(scores.pixel_accuracy)
        assert json.loads(json.dumps(scores.to_json(), allow_nan=False))["mean_iou"] is None


def test_json_has_all_of_it() -> None:
    data = json.loads(json.dumps(scored(maps(0), maps(1)).to_json(), allow_nan=False))
    assert data["num_pictures"] == 2
    assert 0 < data["mean_iou_interval"][0] <= data["mean_iou"] <= data["mean_iou_interval"][1] < 1
    assert set(data["per_class"]["a"]) == {"iou", "dice", "accuracy", "boundary_iou", "num_truth", "num_found"}


@pytest.mark.parametrize(
    ("found", "truth", "message"),
    [
        pytest.param([[0, 1]], [[0, 5]], r"truth of 'p' has 5 at x=1, y=0 \(1 such pixels\)", id="truth"),
        pytest.param([[0], [7], [7]], [[0], [0], [0]], r"prediction for 'p' has 7 at x=0, y=1 \(2", id="prediction"),
        pytest.param([[0, 1]], [[0], [1]], r"\[2, 1\] and \[1, 2\]", id="size"),
    ],
)
def test_maps_that_cannot_be_compared(found: list[list[int]], truth: list[list[int]], message: str) -> None:
    metric = SemanticMetric(LABELS)
    with pytest.raises(DataError, match=message):
        metric.update(*of(found, truth), named("p", (1, 1)))
    assert metric.compute().num_pictures == 0


def test_negative_ids_are_refused_and_signed_types_accepted() -> None:
    metric = SemanticMetric(LABELS)
    with pytest.raises(DataError, match="has -1"):
        metric.update(SemanticMap(np.zeros((1, 2), np.int64)), SemanticMap(np.array([[0, -1]])), named("p", (1, 2)))
    metric.update(
        SemanticMap(np.zeros((1, 2), np.int64)), SemanticMap(np.array([[0, 255]], np.int32)), named("p", (1, 2))
    )
    assert metric.compute().mean_iou == 1
    with pytest.raises(DataError, match="scored before"):
        metric.update(
            SemanticMap(np.zeros((1, 2), np.int64)), SemanticMap(np.zeros((1, 2), np.int64)), named("p", (1, 2))
        )


def test_many_classes() -> None:
    labels = Labels(tuple(f"c{k}" for k in range(300)), ignore=65_535)
    ids = np.arange(300).reshape(10, 30)
    scores = scored((SemanticMap(ids), SemanticMap(np.where(ids == 7, 65_535, ids))), labels=labels)
    assert scores.mean_iou == 1
    assert scores.per_class["c7"].num_found == 0


def test_memory_grows_neither_with_pixels_nor_with_their_index() -> None:
    """A picture of 4 megapixels is counted in parts of a quarter."""
    large = SemanticMap(np.zeros((2000, 2000), np.uint8))
    metric = SemanticMetric(LABELS)
    tracemalloc.start()
    try:
        metric.update(large, large, named("large", large.size))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000
    assert peak < 10 * large.ids.nbytes
