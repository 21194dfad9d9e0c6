"""TinyCD's published weights: both files load, and give the numbers that their authors' code gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from everymask.api import load
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.errors import WeightsError
from everymask.evaluate import evaluate
from everymask.infer.predictor import Predictor
from everymask.metrics.change.scores import ChangeScores
from everymask.models.build import build
from everymask.models.foreign.tinycd import from_tinycd
from everymask.models.specs.change import TinyCD

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SAMPLES, WEIGHTS = DATA / "levir_samples", DATA / "tinycd"
needs_data = pytest.mark.skipif(not WEIGHTS.is_dir() or not SAMPLES.is_dir(), reason="needs shared/data/tinycd")


def published(name: str) -> Predictor:
    return load(WEIGHTS / f"{name}_best.pth", device="cpu", precision="exact")


def samples() -> Dataset:
    return read_dataset(SAMPLES).annotated()


def counts(predictor: Predictor, dataset: Dataset) -> ChangeScores:
    scores = evaluate(predictor, dataset).scores
    assert isinstance(scores, ChangeScores)
    return scores


def test_it_has_as_many_parameters_as_the_paper_says() -> None:
    with torch.device("meta"):
        module = build(TinyCD(), 2)
    assert sum(parameter.numel() for parameter in module.parameters()) == 285_128


@needs_data
@pytest.mark.slow
def test_the_weights_for_levir_give_their_numbers_on_the_samples() -> None:
    total = counts(published("levir"), samples()).total
    found = (total.f1, total.iou, total.precision, total.recall, total.accuracy, total.kappa)
    assert found == pytest.approx((0.927732, 0.865205, 0.9294, 0.9261, 0.977801, 0.914618), abs=1e-4)


@needs_data
@pytest.mark.slow
def test_with_the_dates_exchanged_they_find_little() -> None:
    dataset = samples()
    turned = tuple(replace(row, image=row.before, before=row.image) for row in dataset.records)  # type: ignore[arg-type]
    assert counts(published("levir"), replace(dataset, records=turned)).headline == pytest.approx(0.394, abs=1e-3)


@needs_data
@pytest.mark.slow
def test_the_weights_for_whu_whose_names_differ_load_too() -> None:
    assert counts(published("whu"), samples()).headline == pytest.approx(0.5855, abs=1e-3)


@needs_data
@pytest.mark.slow
def test_one_of_the_samples_has_its_number() -> None:
    dataset = samples()
    (row,) = (row for row, record in enumerate(dataset.records) if record.id == "test_121_0768_0256")
    assert counts(published("levir"), dataset.subset([row])).headline == pytest.approx(0.8916, abs=1e-3)


def test_a_checkpoint_with_other_tensors_is_refused() -> None:
    with pytest.raises(WeightsError, match="not a TinyCD of its authors: it has extra"):
        from_tinycd({"extra.weight": torch.zeros(1)})
