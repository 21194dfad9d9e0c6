"""A whole training of a small network that answers prompts: its run, judged, compared, asked, and gone on with."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from everymask.cli import run as call
from everymask.core.labels import labels_of
from everymask.data.shapes import write_shapes
from everymask.models.checkpoint import read_model
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, PromptedSmall
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import read_log
from everymask.train.run import Run, train
from everymask.train.start import build_start

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)
SAM_TINY = SAM(encoder="vit_t", side=64)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=4, val=2, size=64)
    return folder


def settings(data: Path, out: Path, **changes: Any) -> TrainConfig:
    model = PromptedSmall(side=64, width=32)
    values = {"data": str(data), "out": str(out), "epochs": 2, "batch": 2, "device": "cpu", "weights": "none"}
    return TrainConfig(**(values | {"model": model, "validate_every": 2} | changes))


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(shapes, tmp_path_factory.mktemp("runs") / "a"), console=QUIET)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_model(folder / "best.safetensors")[0]


def test_a_run_says_how_good_its_answers_are(run: Run) -> None:
    card = read_model(run.folder / "best.safetensors")[1]
    assert card.labels == labels_of(["object"]) and card.preprocess.resize.long == 64
    assert {"mIoU@1", "mIoU@20", "NoC85", "box-prompt AP"} <= card.metrics.keys()
    assert run.report is not None and run.report.headline_name == "mIoU@1"
    page = (run.folder / "report.html").read_text("utf-8")
    assert "mIoU after 1 click" in page and "NoC85" in page and "data:image" in page
    steps = [entry for entry in read_log(run.folder / "log.jsonl") if entry["kind"] == "step"]
    assert all(any(name in key for key in steps[-1]) for name in ("focal", "dice", "iou"))


def test_an_interrupted_run_goes_on_to_the_same_weights(
    run: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = weights(run.folder), interrupted_and_resumed(settings(shapes, tmp_path / "c"), monkeypatch)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_verb_knows_it(run: Run, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: object) -> str:
        assert call([str(word) for word in words]) == 0
        return capsys.readouterr().out

    found = json.loads(said("evaluate", run.folder, shapes, "--split", "val", "--json"))
    assert found["num_pictures"] == 2 and len(found["mean_iou_by_clicks"]) == 20
    assert found["per_class"].keys() == {"square", "circle", "triangle"} and found["boxes"]["mask"]["AP"] >= 0
    assert "Clicks to reach an IoU" in said("evaluate", run.folder, shapes, "--split", "val")
    assert json.loads(said("compare", run.folder, run.folder, shapes, "--split", "val", "--json"))["difference"] == 0
    picture = next((shapes / "images").rglob("*.png"))
    said("predict", run.folder, picture, "--out", tmp_path / "all", "--everything", "--points-per-side", "2")
    said("predict", "otsu", picture, "--out", tmp_path / "both", "--split-objects", "--outline", run.folder)
    assert (tmp_path / "both" / "predictions.csv").is_file()
    assert "prompted-small" in said("models")


def test_it_is_fine_tuned_from_a_run_its_decoder_alone(run: Run, shapes: Path, tmp_path: Path) -> None:
    config = settings(shapes, tmp_path / "b", weights=str(run.folder), model=None, layers="heads", epochs=1, ema=0.0)
    tuned = train(config, console=QUIET)
    assert tuned.config.model == PromptedSmall(side=64, width=32), "weights bring their network"
    notes = [entry["text"] for entry in read_log(tuned.folder / "log.jsonl") if entry["kind"] == "note"]
    assert any("weight tensors" in note for note in notes) and not any("classes kept" in note for note in notes)
    before, after = weights(run.folder), weights(tuned.folder)
    same = {name for name in before if torch.equal(before[name], after[name])}
    counters = {name for name in before if name.endswith("num_batches_tracked")}
    learned = {name.split(".")[0] for name in before.keys() - same - counters}
    assert learned <= {"prompt_encoder", "mask_decoder"} and "mask_decoder" in learned


@pytest.fixture(scope="module")
def adapted(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "lora"
    return train(settings(shapes, folder, model=SAM_TINY, layers="lora2"), console=QUIET)


def interrupted_and_resumed(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The weights of a training that was interrupted in its second step."""
    calls, loss = [], PromptedNetwork.loss

    def stop(self: PromptedNetwork, *arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, *arguments)

    monkeypatch.setattr(PromptedNetwork, "loss", stop)
    assert train(config, console=QUIET).reason == "interrupted"
    return weights(train(replace(config, resume=True), console=QUIET).folder)


def noted(run: Run) -> str:
    return "\n".join(entry["text"] for entry in read_log(run.folder / "log.jsonl") if entry["kind"] == "note")


def test_low_rank_updates_are_merged_when_saved_and_resume_bit_for_bit(
    adapted: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights(adapted.folder)
    second = interrupted_and_resumed(settings(shapes, tmp_path / "a", model=SAM_TINY, layers="lora2"), monkeypatch)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert not any("lora" in name for name in first) and "low-rank updates of rank 2" in noted(adapted)
    encoder = [name for name in first if name.startswith("image_encoder.")]
    start = build_start(SAM_TINY, labels_of(["object"]), None, 0)[0].state_dict()
    changed = {name for name in encoder if not torch.equal(first[name], start[name])}
    assert changed == {name for name in encoder if name.endswith("attn.qkv.weight")}


def test_a_frozen_encoder_sees_each_picture_once_and_resumes_bit_for_bit(
    adapted: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen, encoded = [], PromptedNetwork.encoded

    def counted(self: PromptedNetwork, square: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen.append(self.kept is not None and self.training)
        return encoded(self, square)

    monkeypatch.setattr(PromptedNetwork, "encoded", counted)
    config = settings(shapes, tmp_path / "a", weights=str(adapted.folder), model=None, layers="heads", epochs=2)
    whole = train(config, console=QUIET)
    assert sum(seen) == 4 and "sees each picture once" in noted(whole) and "not varied" in noted(whole)
    files = list((tmp_path / "cache" / "everymask" / "embeddings").glob("*/*.safetensors"))
    assert len(files) == 4
    files[0].write_bytes(b"damaged")
    files[1].unlink()
    first, second = (
        weights(whole.folder),
        interrupted_and_resumed(replace(config, out=str(tmp_path / "b")), monkeypatch),
    )
    assert all(torch.equal(first[name], second[name]) for name in first) and sum(seen) == 6
    before = weights(adapted.folder)
    assert {name.split(".")[0] for name in first if not torch.equal(first[name], before[name])} <= {
        "prompt_encoder",
        "mask_decoder",
    }
