"""A network of queries through the ordinary loop: panoptic maps, then objects and label maps from its weights."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from everymask.api import load
from everymask.core.segmentation import InstanceSet, PanopticMap, SemanticMap
from everymask.data.scenery import write_scenes
from everymask.data.shapes import write_shapes
from everymask.errors import DataError
from everymask.evaluate import compare, evaluate
from everymask.infer.tiling import Tiling
from everymask.models.checkpoint import read_model
from everymask.models.queries.network import QueryNetwork
from everymask.models.specs.queries import EoMT, Mask2Former
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import read_log
from everymask.train.run import Run, train

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
_WIDTHS = {"width": 32, "heads": 4, "pixel_layers": 1, "pixel_hidden": 32, "layers": 2, "hidden": 32}
SMALL = Mask2Former(encoder="mobilenetv3_small_100", queries=12, points=128, **_WIDTHS)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(folder, train=6, val=2, size=64)
    return folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, train=4, val=2, size=64)
    return folder


def settings(data: Path, out: Path, **changes: object) -> TrainConfig:
    values: dict[str, object] = {"data": str(data), "out": str(out), "epochs": 2, "batch": 2, "size": 64}
    values |= {"model": SMALL, "device": "cpu", "weights": "none"}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(scenes, tmp_path_factory.mktemp("runs") / "a"), console=QUIET)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_model(folder / "best.safetensors")[0]


def a_picture(data: Path) -> Path:
    return next(path for path in sorted(data.rglob("*.*")) if path.suffix in (".jpg", ".png"))


def notes(folder: Path) -> str:
    return "\n".join(str(entry["text"]) for entry in read_log(folder / "log.jsonl") if entry["kind"] == "note")


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: Run, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points and so pairs are drawn from the run's seed."""
    resumed = interrupted(settings(scenes, tmp_path / "c"), monkeypatch)
    first, second = weights(run.folder), weights(resumed.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_eomt_goes_on_with_giving_up_its_masks(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = EoMT(encoder="vit_tiny_patch16_224", queries=12, points=128, side=64)
    config = settings(scenes, tmp_path / "c", model=tiny)
    whole = train(replace(config, out=str(tmp_path / "w")), console=QUIET)
    resumed = interrupted(config, monkeypatch)
    first, second = weights(whole.folder), weights(resumed.folder)
    assert all(torch.equal(first[name], second[name]) for name in first)
    spec = load(whole.folder).card.spec
    assert isinstance(spec, EoMT) and spec.annealing == 6, "calls of the loss"


def interrupted(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that is stopped in its second step, and goes on."""
    calls: list[int] = []
    loss = QueryNetwork.loss

    def stop(self: QueryNetwork, *arguments: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(QueryNetwork, "loss", stop)
    assert train(config, console=QUIET).reason == "interrupted"
    resumed = train(replace(config, resume=True), console=QUIET)
    assert (resumed.reason, resumed.steps) == ("finished", 6)
    return resumed


def test_a_panoptic_run_is_judged_and_compared(run: Run, scenes: Path) -> None:
    model = load(run.folder)
    assert isinstance(model.predict(a_picture(scenes)).panoptic, PanopticMap)
    report = evaluate(model, str(scenes), split="val")
    assert report.pictures == 2
    assert compare(model, model, str(scenes), split="val").name == "PQ"
    assert (run.folder / "report.html").stat().st_size > 10_000


def test_objects_learn_from_its_weights_with_other_classes(run: Run, shapes: Path, tmp_path: Path) -> None:
    config = settings(shapes, tmp_path / "o", weights=str(run.folder), epochs=1, layers="heads", max_detections=5)
    tuned = train(config, console=QUIET)
    assert "classes kept: square, circle, triangle" in notes(tuned.folder)
    first, second = weights(run.folder), weights(tuned.folder)
    kept = [name for name in first if name.startswith("backbone.") and not name.endswith("num_batches_tracked")]
    assert all(torch.equal(first[name], second[name]) for name in kept)
    assert not torch.equal(first["decoder.queries_features.weight"], second["decoder.queries_features.weight"])
    assert second["class_predictor.bias"].shape == (4,)
    found = load(tuned.folder).predict(a_picture(shapes)).segmentation
    assert isinstance(found, InstanceSet) and len(found) <= 5
    assert evaluate(load(tuned.folder), str(shapes), split="val").pictures == 2


def test_label_maps_learn_from_its_weights(run: Run, shapes: Path, tmp_path: Path) -> None:
    config = settings(shapes, tmp_path / "s", weights=str(run.folder), epochs=1, task="semantic")
    tuned = train(config, console=QUIET)
    assert "new classes: background" in notes(tuned.folder)
    result = load(tuned.folder).predict(a_picture(shapes))
    assert isinstance(result.segmentation, SemanticMap) and result.segmentation.size == (64, 64)
    assert load(tuned.folder).predict(a_picture(shapes), tiling=Tiling(32)).segmentation.size == (64, 64)
    assert evaluate(load(tuned.folder), str(shapes), split="val").pictures == 2


def test_boxes_alone_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "boxes"
    write_shapes(folder, train=4, val=2, size=64)
    for file in (folder / "annotations").glob("*.json"):
        document = json.loads(file.read_text("utf-8"))
        for row in document["annotations"]:
            row.pop("segmentation")
        file.write_text(json.dumps(document), "utf-8")
    with pytest.raises(DataError, match="boxes without masks"):
        train(settings(folder, tmp_path / "b"), console=QUIET)
