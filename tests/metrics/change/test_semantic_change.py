"""SeK and Score beside a small reference that follows their definitions pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.errors import ConfigError
from everymask.metrics.change.metric import ChangeMetric
from everymask.metrics.change.semantic_scores import SemanticChangeScores

LABELS = labels_of(["unchanged", "water", "tree", "house"])


def drawn(seed: int) -> tuple[ChangeMap, ChangeMap]:
    """A truth, and a prediction that is wrong here and there."""
    draw = rng(seed, "semantic change")
    changed = draw.random((24, 30)) < 0.3
    was, now = draw.integers(1, 4, (2, 24, 30)) * changed
    wrong = draw.random((24, 30)) < 0.3
    found = np.where(wrong, draw.random((24, 30)) < 0.5, changed)
    other = np.where(draw.random((24, 30)) < 0.2, 1, np.maximum(was, 1)) * found
    return ChangeMap(now, was=was), ChangeMap(np.maximum(now, 2) * found, was=other)


def metric_of(pairs: list[tuple[ChangeMap, ChangeMap]]) -> ChangeMetric:
    metric = ChangeMetric(LABELS)
    for number, (truth, found) in enumerate(pairs):
        metric.update(found, truth, Sample(np.zeros((24, 30, 3), np.uint8), id=str(number)))
    return metric


def reference(pairs: list[tuple[ChangeMap, ChangeMap]]) -> dict[str, float]:
    """As the paper says it, pixel by pixel."""
    q = np.zeros((4, 4))
    for truth, found in pairs:
        for true, said in ((truth.was, found.was), (truth.ids, found.ids)):
            for a, b in zip(np.ravel(true), np.ravel(said), strict=True):  # type: ignore[arg-type]
                q[a, b] += 1
    unchanged = q[0, 0] / (q[0].sum() + q[:, 0].sum() - q[0, 0])
    changed = sum(q[i, j] for i in range(1, 4) for j in range(1, 4)) / (q.sum() - q[0, 0])
    q[0, 0] = 0
    right = sum(q[k, k] for k in range(4)) / q.sum()
    chance = sum(q[k].sum() * q[:, k].sum() for k in range(4)) / q.sum() ** 2
    sek = (right - chance) / (1 - chance) * math.exp(changed - 1)
    mean = (unchanged + changed) / 2
    precision, recall = (sum(q[k, k] for k in range(1, 4)) / part.sum() for part in (q[:, 1:], q[1:]))
    f1 = 2 * precision * recall / (precision + recall)
    return {"SeK": sek, "mIoU": mean, "Score": 0.3 * mean + 0.7 * sek, "class F1": f1}


def test_scores_equal_their_definitions() -> None:
    pairs = [drawn(seed) for seed in range(3)]
    scores = metric_of(pairs).compute()
    assert isinstance(scores, SemanticChangeScores)
    wanted = reference(pairs)
    assert {name: scores.numbers()[name] for name in wanted} == pytest.approx(wanted, abs=1e-12)
    true = np.concatenate([pair[0].ids > 0 for pair in pairs])
    found = np.concatenate([pair[1].ids > 0 for pair in pairs])
    assert scores.total.f1 == pytest.approx(2 * (true & found).sum() / (true.sum() + found.sum()))
    assert scores.headline == scores.numbers()["Score"] and 0 < scores.headline < 1


def test_what_is_right_is_1_and_pixels_without_truth_do_not_count() -> None:
    truth, _ = drawn(0)
    assert metric_of([(truth, truth)]).compute().headline == pytest.approx(1)
    hidden = np.zeros(truth.ids.shape, bool)
    hidden[:5] = True
    partly = truth.each(lambda ids: np.where(hidden, 255, ids))
    wrong = truth.each(lambda ids: np.where(hidden, 3, ids))
    assert metric_of([(partly, wrong)]).compute().headline == pytest.approx(1)


def test_parts_of_a_run_give_the_scores_of_the_whole() -> None:
    pairs = [drawn(seed) for seed in range(4)]
    whole, first, second = metric_of(pairs), metric_of(pairs[:2]), ChangeMetric(LABELS)
    for number, (truth, found) in enumerate(pairs[2:], 2):
        second.update(found, truth, Sample(np.zeros((24, 30, 3), np.uint8), id=str(number)))
    first.merge(second)
    assert first.compute().to_json() == whole.compute().to_json()
    low, high = whole.compute().interval
    assert low < whole.compute().headline < high
    told = whole.compute().to_json()
    assert "f1_interval" not in told and told["score_interval"] == [low, high]


def test_where_one_does_not_say_what_was_only_the_change_is_scored() -> None:
    truth, found = drawn(1)
    scores = metric_of([(truth, ChangeMap(found.ids))]).compute()
    assert type(scores).headline_name == "F1"
    with pytest.raises(ConfigError, match="changes were scored"):
        scores.check_comparable(metric_of([(truth, found)]).compute())


def test_nothing_changed_and_nothing_found_has_no_score() -> None:
    nothing = ChangeMap(np.zeros((24, 30), np.uint8), was=np.zeros((24, 30), np.uint8))
    assert math.isnan(metric_of([(nothing, nothing)]).compute().headline)
