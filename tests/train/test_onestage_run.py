"""Whole trainings of one-stage detectors and of RF-DETR, on drawn shapes of 64 x 64 pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import everymask
from everymask.core.processes.rank import ALONE
from everymask.data.feed.augment import Augment
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError
from everymask.metrics.instance_scores import InstanceScores
from everymask.models.checkpoint import read_safetensors
from everymask.models.specs.detr import RFDETRSeg
from everymask.models.specs.onestage import YOLOX, RTMDetIns
from everymask.settings.config import TrainConfig
from everymask.train.planning import begin
from everymask.train.run import train

QUIET = Console(quiet=True)


def settings(data: Path, out: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {"data": str(data), "out": str(out), "epochs": 2, "batch": 2, "size": 64}
    values |= {"model": "yolox-nano", "device": "cpu", "weights": "none"}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def last_state(folder: Path) -> dict[str, torch.Tensor]:
    """Weights, their average and what the optimizer remembers, after the last step."""
    return read_safetensors(max((folder / "state").rglob("tensors.safetensors"), key=lambda file: file.parent.name))[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "kind"), [("yolox-nano", YOLOX), ("rtmdet-ins-tiny", RTMDetIns), ("rf-detr-seg-tiny", RFDETRSeg)]
)
def test_a_continued_training_is_the_same_bit_for_bit(model: str, kind: type, shapes: Path, tmp_path: Path) -> None:
    changes: dict[str, object] = {"model": model, "schedule": "constant"}
    if kind is YOLOX:  # of one epoch and of two the first is mixed
        changes |= {"augment": Augment(mosaic=1.0, mixup=0.5, unmixed=0.3)}
    once = train(settings(shapes, tmp_path / "once", **changes), console=QUIET)
    parts = tmp_path / "parts"
    train(settings(shapes, parts, **changes, epochs=1), console=QUIET)
    train(settings(shapes, parts, **changes, resume=True), console=QUIET)
    first, second = last_state(once.folder), last_state(parts)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    predictor = everymask.load(once.folder, device="cpu")
    assert isinstance(predictor.card.spec, kind) and predictor.card.labels.names == ("square", "circle", "triangle")
    assert once.report is not None
    scores = once.report.scores
    assert isinstance(scores, InstanceScores) and (scores.mask is not None) == (kind is not YOLOX)
    found = predictor.predict(np.zeros((40, 90, 3), np.uint8)).instances
    assert (found.masks is not None) == (kind is not YOLOX)


def test_the_last_epochs_show_pictures_one_by_one(shapes: Path, tmp_path: Path) -> None:
    device, shown = torch.device("cpu"), []
    for augment in (Augment(mosaic=1.0, mixup=1.0, unmixed=0.5), Augment()):
        config = settings(shapes, tmp_path / "run", batch=3, augment=augment)
        begun = begin(config, None, tmp_path / "run", device, QUIET, ALONE)
        shown.append([batch.images for batch in begun.batches(device, 0, 2)])
    (mixed, last), (plain, plain_last) = shown
    assert not torch.equal(mixed, plain) and torch.equal(last, plain_last)


def test_masks_are_not_learned_from_boxes(shapes: Path, tmp_path: Path) -> None:
    dataset = replace(read_dataset(shapes), boxes_only=True)
    with pytest.raises(DataError, match="boxes without masks"):
        train(settings(shapes, tmp_path / "run", model="rtmdet-ins-tiny"), dataset=dataset, console=QUIET)
