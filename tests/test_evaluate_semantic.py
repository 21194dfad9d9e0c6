"""Label maps are judged on the pictures' own size, class by class of the same name."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from everymask.backends.pytorch import build_predictor
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.data.splits import draw_split, write_split
from everymask.errors import ConfigError, DataError
from everymask.evaluate import compare, evaluate
from everymask.metrics.semantic import SemanticScores, Void
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.semantic import UNet
from everymask.tasks.instance import INSTANCE
from tests.grey_model import STEP, grey_model, write_grey

NAMES = ("ground", "road", "sky")


def made(index: int) -> np.ndarray:
    ids = rng(index, "map").integers(3, size=(5, 6)).repeat(4, axis=0).repeat(4, axis=1)
    ids[:2, :5] = 255
    return ids[: 20 - index]


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("grey")
    write_grey(folder, [made(index) for index in range(6)], NAMES)
    return read_dataset(folder)


def test_a_model_that_is_right_has_all_the_overlap_there_is(maps: Dataset) -> None:
    steps: list[tuple[int, int]] = []
    report = evaluate(grey_model(labels_of(NAMES)), maps, progress=lambda *step: steps.append(step), batch=4)
    assert isinstance(report.scores, SemanticScores)
    assert report.headline == report.scores.mean_iou == report.scores.mean_boundary_iou == 1
    assert (report.headline_name, report.pictures, steps[-1]) == ("mIoU", 6, (6, 6))
    assert report.numbers() == {"mIoU": 1, "pixel accuracy": 1, "mean accuracy": 1, "mean Dice": 1}
    assert repr(report) == "<Report 6 pictures: mIoU 1.000 (1.000 to 1.000), pixel accuracy 1.000>"
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["per_class"]["sky"]["iou"] == 1


def test_classes_are_matched_by_name(maps: Dataset) -> None:
    model = grey_model(labels_of(["sky", "moon", "ground", "road"]), [2 * STEP, 1000, 0, STEP])
    scores = evaluate(model, maps).scores
    assert scores.mean_iou == 1
    assert math.isnan(scores.per_class["moon"].iou)
    with pytest.raises(DataError, match="road"):
        evaluate(grey_model(labels_of(["ground", "sky"])), maps)


def test_what_is_said_without_truth_counts_where_asked_for(maps: Dataset) -> None:
    model = grey_model(labels_of(NAMES))
    assert evaluate(model, maps).scores.per_class["ground"].iou == 1
    wrong = evaluate(model, maps, void="wrong").scores
    assert wrong.per_class["ground"].iou < 1
    assert wrong.per_class["road"].iou == 1


class Drawn(SemanticModel):
    """Logits that do not look at the picture."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(UNet(channels=1), len(logits))
        self.drawn = nn.Parameter(logits)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        return (self.drawn[None, :, : images.shape[2], : images.shape[3]].expand(len(images), -1, -1, -1),)


def test_the_calibration_error_is_that_of_torchmetrics(maps: Dataset, classification: ModuleType) -> None:
    """Pixels without truth are left out, whether void counts or not."""
    logits = torch.from_numpy(rng(0, "logits").normal(scale=2, size=(3, 24, 24)).astype(np.float32))
    card = grey_model(labels_of(NAMES)).card
    model = build_predictor(Drawn(logits), card, "cpu", precision="exact")
    truths = [torch.from_numpy(made(index)) for index in range(len(maps))]
    true = torch.cat([truth.flatten() for truth in truths]).long()
    found = torch.cat([logits[:, : len(truth)].flatten(1).T for truth in truths]).softmax(dim=1)
    expected = classification.multiclass_calibration_error(found, true, 3, n_bins=15, norm="l1", ignore_index=255)
    for void in get_args(Void):
        report = evaluate(model, maps, calibration=True, void=void, batch=2)
        assert report.numbers()["ECE"] == pytest.approx(float(expected), abs=1e-6)
        assert report.calibration.counts.sum() == (true != 255).sum()
        assert report.to_json()["calibration"]["expected_error"] == report.numbers()["ECE"]
    assert f"ECE {float(expected):.3f}" in repr(report)
    without = evaluate(model, maps)
    assert without.calibration is None
    assert not {"ECE", "calibration"} & {*without.numbers(), *without.to_json()}


def test_objects_become_label_maps(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=1, val=3, size=64)
    objects = read_dataset(tmp_path)
    labels = objects.semantic().labels
    report = evaluate(grey_model(labels, [-1000.0, 0.0, 100.0, 200.0], channels=3), objects, split="val")
    assert set(report.scores.per_class) == {"background", "square", "circle", "triangle"}
    assert report.scores.per_class["background"].num_found == 0
    assert report.scores.per_class["background"].num_truth > 0


def test_label_maps_do_not_become_objects(maps: Dataset) -> None:
    from types import SimpleNamespace

    model = SimpleNamespace(answers=None, splits=None, task=INSTANCE, labels=labels_of(NAMES))
    with pytest.raises(ConfigError, match="do not tell objects apart"):
        evaluate(model, maps)  # type: ignore[arg-type]


def test_models_are_compared_on_the_same_pictures(maps: Dataset, tmp_path: Path) -> None:
    good = grey_model(labels_of(NAMES))
    poor = grey_model(labels_of(NAMES), [0.0, STEP, 1000.0])
    found = compare(poor, good, maps)
    assert found.second == 1 and found.difference == 1 - found.first > 0.3
    assert found.p_value == 1 / 32 and found.low > 0
    assert compare(good, good, maps).p_value == 1
    drawn = []
    for seed in (0, 1):
        file = tmp_path / f"{seed}.json"
        write_split(file, draw_split(maps, seed=seed, fractions=(("train", 0.5), ("val", 0.5))))
        drawn.append(replace(good, splits=file))
    assert compare(*[drawn[0]] * 2, maps, split="val").num_pictures == 3
    with pytest.raises(DataError, match="neither model was trained on"):
        compare(*drawn, maps, split="val")


def test_only_models_of_one_task_are_compared(maps: Dataset) -> None:
    from types import SimpleNamespace

    with pytest.raises(ConfigError, match="the first finds objects, and the second says of every pixel"):
        compare(SimpleNamespace(task=INSTANCE, answers=None), grey_model(labels_of(NAMES)), maps)  # type: ignore[arg-type]
