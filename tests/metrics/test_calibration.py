"""The expected calibration error is torchmetrics', however the answers arrive."""

from __future__ import annotations

import json
import math
from types import ModuleType

import numpy as np
import pytest
import torch

from everymask.core.randomness import rng
from everymask.errors import ConfigError, DataError
from everymask.metrics import calibration
from everymask.metrics.calibration import CalibrationMetric

IGNORE = 255


def answers() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, K] and truths [N], some of which are void."""
    draw = rng(0, "answers")
    probabilities = draw.dirichlet(np.full(4, 0.4), size=5_000).astype(np.float32)
    truth = np.where(draw.random(5_000) < 0.6, probabilities.argmax(axis=1), draw.integers(4, size=5_000))
    return probabilities, np.where(draw.random(5_000) < 0.1, IGNORE, truth)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_errors_are_those_of_torchmetrics(
    bins: int, monkeypatch: pytest.MonkeyPatch, classification: ModuleType
) -> None:
    monkeypatch.setattr(calibration, "_AT_ONCE", 700)
    probabilities, truth = answers()
    seen = truth != IGNORE
    metric, other = CalibrationMetric(bins), CalibrationMetric(bins)
    confidence, correct = probabilities.max(axis=1)[seen], (probabilities.argmax(axis=1) == truth)[seen]
    metric.add(confidence[:1_000], correct[:1_000])
    other.add(confidence[1_000:], correct[1_000:])
    metric.merge(other)
    scores = metric.compute()
    for norm, value in (("l1", scores.expected_error), ("max", scores.largest_error)):
        expected = classification.multiclass_calibration_error(
            torch.from_numpy(probabilities), torch.from_numpy(truth), 4, n_bins=bins, norm=norm, ignore_index=IGNORE
        )
        assert value == pytest.approx(float(expected), abs=1e-6)
    assert scores.counts.sum() == seen.sum()


def test_a_model_that_is_as_sure_as_it_is_right_has_no_error() -> None:
    metric = CalibrationMetric(bins=4)
    metric.add(np.full((2, 2), 0.75), np.array([[True, True], [True, False]]))
    metric.add(np.ones(3), np.ones(3, bool))
    scores = metric.compute()
    assert scores.expected_error == scores.largest_error == 0
    assert scores.counts.tolist() == [0, 0, 0, 7]
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False))["accuracy"][0] is None


def test_without_answers_there_is_no_error() -> None:
    metric = CalibrationMetric()
    metric.add(np.zeros(0), np.zeros(0, bool))
    assert math.isnan(metric.compute().expected_error)
    assert metric.compute().to_json()["expected_error"] is None


def test_what_cannot_be_counted_is_refused() -> None:
    metric = CalibrationMetric()
    with pytest.raises(DataError, match="not logits"):
        metric.add(np.array([0.5, 3.0]), np.array([True, False]))
    with pytest.raises(DataError, match="0 to 1"):
        metric.add(np.array([0.5, np.nan]), np.array([True, False]))
    with pytest.raises(DataError, match=r"\[2\] and \[3\]"):
        metric.add(np.zeros(2), np.zeros(3, bool))
    with pytest.raises(ConfigError, match="bin"):
        CalibrationMetric(0)
    with pytest.raises(ConfigError, match="15 bins"):
        metric.merge(CalibrationMetric(3))
