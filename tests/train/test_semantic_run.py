"""A whole training of a narrow U-Net on drawn label maps: what lies in the run folder, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import everymask
from everymask.core.labels import labels_of
from everymask.data.formats.table import read_dataset
from everymask.data.pictures.read import write_image
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError
from everymask.metrics.semantic import SemanticScores
from everymask.models.checkpoint import load_model, read_model
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import read_log
from everymask.train.run import Run, train

NARROW = UNet(encoder="plain", decoder_channels=(16, 8))
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright discs of two colours on dark noise, and what they are: eight pictures for training, four to validate."""
    folder = tmp_path_factory.mktemp("data") / "discs"
    random = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    for split, count in (("train", 8), ("val", 4)):
        for number in range(count):
            image, ids = random.integers(0, 60, (48, 64, 3)), np.zeros((48, 64), np.uint8)
            for name in (1, 2):
                cy, cx, radius = random.integers(10, 38), random.integers(10, 54), random.integers(6, 11)
                inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
                ids[inside] = name
                image[inside, name] += 150
            ids[:3] = 255
            for kind, pixels in (("images", image.astype(np.uint8)), ("masks", ids)):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
                write_image(folder / kind / split / f"{number:02d}.png", pixels)
    (folder / "labels.txt").write_text("background\nred\nblue\n")
    return folder


def settings(data: Path, out: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {"data": str(data), "out": str(out), "epochs": 2, "batch": 2, "size": 48}
    return TrainConfig(**(values | {"model": NARROW, "device": "cpu", "lr": 0.01} | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(maps: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(maps, tmp_path_factory.mktemp("runs") / "a", epochs=4), console=QUIET)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_model(folder / "best.safetensors")[0]


def notes(run: Run) -> str:
    return " ".join(entry["text"] for entry in read_log(run.folder / "log.jsonl") if entry["kind"] == "note")


def test_a_run_folder_is_everything(run: Run) -> None:
    files = {path.name for path in run.folder.iterdir()}
    assert files >= {
        "config.json",
        "origin.json",
        "splits.json",
        "log.jsonl",
        "best.safetensors",
        "report.html",
        "state",
    }
    assert (run.reason, run.steps) == ("finished", 16)
    assert run.report is not None
    assert isinstance(run.report.scores, SemanticScores)
    assert run.report.headline == run.report.scores.mean_iou > 0.4, "it learns"
    entries = read_log(run.folder / "log.jsonl")
    assert {"loss", "loss_segmentation"} <= next(entry for entry in entries if entry["kind"] == "step").keys()
    assert [entry["mIoU"] for entry in entries if entry["kind"] == "validation"]
    assert "label maps hold numbers" in notes(run)


def test_settings_are_decided_and_written_down(run: Run) -> None:
    stored = json.loads((run.folder / "config.json").read_text())
    assert (stored["task"], stored["loss"], stored["optimizer"]) == ("semantic", "ce", "adamw")
    assert stored["model"]["kind"] == "unet"
    assert stored["augment"]["scale"] == [0.5, 2.0]
    assert stored["max_detections"] is None


def test_the_run_folder_evaluates_and_predicts(run: Run, maps: Path) -> None:
    model = everymask.load(run.folder, device="cpu")
    report = everymask.evaluate(model, maps, split="val")
    assert run.report is not None
    assert report.headline == pytest.approx(run.report.headline, abs=1e-6)
    result = model.predict(maps / "images" / "val" / "00.png")
    assert result.semantic.ids.shape == (48, 64)
    assert set(np.unique(result.semantic.ids)) <= {0, 1, 2}


def test_best_weights_carry_their_meaning(run: Run) -> None:
    module, card = load_model(run.folder / "best.safetensors")
    assert isinstance(module, SemanticModel)
    assert card.labels.names == ("background", "red", "blue")
    assert run.report is not None
    assert card.metrics["mIoU"] == pytest.approx(run.report.headline)
    assert card.spec == NARROW


@pytest.mark.slow
def test_same_seed_same_weights_whatever_prepares_the_pictures(run: Run, maps: Path, tmp_path: Path) -> None:
    again = train(settings(maps, tmp_path / "b", epochs=4, workers=1), console=QUIET)
    first, second = weights(run.folder), weights(again.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: Run, maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K01: Ctrl-C leaves a model and a state."""
    calls = []
    loss = SemanticModel.loss

    def stop(self: SemanticModel, *arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SemanticModel, "loss", stop)
    config = settings(maps, tmp_path / "c", epochs=4)
    stopped = train(config, console=QUIET)
    assert (stopped.reason, stopped.steps) == ("interrupted", 6)
    resumed = train(replace(config, resume=True), console=QUIET)
    assert (resumed.reason, resumed.steps) == ("finished", 16)
    first, second = weights(run.folder), weights(resumed.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_keeps_the_rows_of_classes_that_it_knows(run: Run, maps: Path, tmp_path: Path) -> None:
    dataset = replace(read_dataset(maps), labels=labels_of(("blue", "background", "star")))
    config = settings(maps, tmp_path / "d", weights=str(run.folder), model=None, epochs=1, lr=1e-9, layers="heads")
    tuned = train(config, dataset=dataset, console=QUIET)
    assert tuned.config.model == NARROW, "weights bring their network"
    assert "classes kept: blue, background; new classes: star" in notes(tuned)
    before, after = weights(run.folder), weights(tuned.folder)
    assert torch.equal(before["backbone.levels.0.0.0.weight"], after["backbone.levels.0.0.0.weight"])
    torch.testing.assert_close(after["classifier.weight"][:2], before["classifier.weight"][[2, 0]], atol=1e-4, rtol=0)
    assert not torch.allclose(after["classifier.weight"][2], before["classifier.weight"][1], atol=1e-3)


@pytest.mark.slow
def test_losses_weights_and_smoothing_are_those_asked_for(maps: Path, tmp_path: Path) -> None:
    asked: tuple[dict[str, object], ...] = ({}, {"loss": "dice"}, {"class_weights": "auto"}, {"label_smoothing": 0.3})
    runs = [
        train(settings(maps, tmp_path / str(number), epochs=1, **changes), console=QUIET)
        for number, changes in enumerate(asked)
    ]
    sums = {float(weights(ended.folder)["classifier.weight"].double().sum()) for ended in runs}
    assert len(sums) == len(asked), "each learns something else"


def test_two_classes_may_have_one_channel(maps: Path, tmp_path: Path) -> None:
    dataset = read_dataset(maps)
    assert dataset.coding is not None
    table = tuple((value, name if name is None else min(name, 1)) for value, name in dataset.coding.table)
    binary = replace(
        dataset,
        labels=labels_of(("background", "disc")),
        coding=replace(dataset.coding, table=table),
        records=tuple(replace(record, truth=replace(record.truth, pixels=())) for record in dataset.records),
    )
    config = settings(maps, tmp_path / "f", model=replace(NARROW, head="binary"))
    ended = train(config, dataset=binary, console=QUIET)
    assert ended.config.loss == "ce+dice"
    assert weights(ended.folder)["classifier.weight"].shape[0] == 1


def test_objects_are_painted_for_a_semantic_network(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", train=4, val=2, size=64)
    ended = train(settings(tmp_path / "shapes", tmp_path / "g", epochs=1), console=QUIET)
    assert read_model(ended.folder / "best.safetensors")[1].labels.names == (
        "background",
        "square",
        "circle",
        "triangle",
    )
    assert "painted from objects" in notes(ended)
    assert ended.report is not None
    assert isinstance(ended.report.scores, SemanticScores)


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        pytest.param({"model": MaskRCNN()}, "--model unet", id="F11 objects from label maps"),
        pytest.param({"model": None, "task": "instance"}, "--model unet", id="F11 task without truth"),
        pytest.param({"model": FasterRCNN(), "task": "semantic"}, "--model unet", id="F11 task against model"),
        pytest.param({"task": "instance"}, "--model mask-rcnn", id="F11 model against task"),
        pytest.param({"max_detections": 5}, "leave out max_detections", id="F11 limit of objects"),
        pytest.param({"model": replace(NARROW, head="binary")}, "multiclass", id="F11 binary with three classes"),
    ],
)
def test_what_does_not_go_together_is_refused(
    maps: Path, tmp_path: Path, changes: dict[str, object], cure: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        train(settings(maps, tmp_path / "x", **changes), console=QUIET)
    assert cure in str(refused.value)
    assert not (tmp_path / "x" / "config.json").exists()


def test_data_are_read_for_the_task_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may have objects and label maps: which of them are read is not for its layout to decide."""
    tasks: list[object] = []

    def read(path: str, **options: object) -> None:
        tasks.append(options["task"])
        raise DataError("read")

    monkeypatch.setattr(sys.modules["everymask.train.pictures"], "read_dataset", read)
    for changes in ({}, {"model": MaskRCNN()}, {"model": None, "task": "semantic"}, {"model": None}):
        with pytest.raises(DataError, match="read"):
            train(settings(tmp_path / "data", tmp_path / "z", **changes), console=QUIET)
    assert tasks == ["semantic", "instance", "semantic", None]


def test_a_value_that_stands_for_no_class_is_named(maps: Path, tmp_path: Path) -> None:
    dataset = read_dataset(maps)
    assert dataset.coding is not None
    short = replace(dataset, coding=replace(dataset.coding, table=dataset.coding.table[:2]))
    with pytest.raises(DataError, match=r"\.png: .* stands for no class; the first is at x \d+, y \d+"):
        train(settings(maps, tmp_path / "y"), dataset=short, console=QUIET)
