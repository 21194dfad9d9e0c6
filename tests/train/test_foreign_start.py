"""Training starts from checkpoints of other programs, told by the names of their tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from rich.console import Console
from torch import nn

from everymask.core.labels import labels_of
from everymask.data.pictures.read import write_image
from everymask.models.checkpoint import read_model
from everymask.models.specs.semantic import DeepLabV3Plus, UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import read_log
from everymask.train.run import train
from everymask.train.start import build_start, read_source

WIDTHS = (16, 8, 8, 8, 8)
NARROW = UNet(encoder="mobilenetv3_small_100", decoder_channels=WIDTHS)
THREE, TWO = labels_of(("ground", "road", "sky")), labels_of(("cell", "rest"))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    kind = f"tu-{NARROW.encoder}"
    return smp.Unet(kind, encoder_weights=None, decoder_channels=WIDTHS, classes=3).eval()


@pytest.mark.parametrize("prefix", ["", "model."], ids=["plain", "of Lightning"])
def test_with_as_many_classes_the_network_is_theirs(theirs: nn.Module, prefix: str, tmp_path: Path) -> None:
    content = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": content | ({"loss.weight": torch.ones(3)} if prefix else {})}, tmp_path / "smp.ckpt")
    module, line = build_start(NARROW, THREE, read_source(str(tmp_path / "smp.ckpt")), seed=1)
    assert "weights by segmentation_models.pytorch; its 3 classes are taken for these, in their order" in line
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(module.eval()(images).logits, theirs(images), atol=1e-5, rtol=1e-5)


def test_with_other_classes_only_the_head_starts_anew(theirs: nn.Module, tmp_path: Path) -> None:
    torch.save(theirs.state_dict(), tmp_path / "smp.pth")
    _, line = build_start(NARROW, TWO, read_source(str(tmp_path / "smp.pth")), seed=1)
    assert line.endswith(
        "classes kept: none; new classes: cell, rest; started afresh: classifier.weight, classifier.bias"
    )


@pytest.mark.slow
def test_a_run_takes_over_how_the_network_was_built(tmp_path: Path) -> None:
    network = smp.DeepLabV3Plus("resnet18", encoder_weights=None, decoder_channels=16, classes=5)
    torch.save(network.state_dict(), tmp_path / "smp.pth")
    for name in "ab":
        write_image(tmp_path / "data" / "images" / f"{name}.png", np.full((64, 64, 3), 60 * ord(name) % 256, np.uint8))
        write_image(tmp_path / "data" / "masks" / f"{name}.png", np.eye(64, dtype=np.uint8))
    asked = DeepLabV3Plus(encoder="resnet18", decoder_channels=16)
    config = TrainConfig(
        data=str(tmp_path / "data"), out=str(tmp_path / "run"), model=asked, weights=str(tmp_path / "smp.pth"),
        format="image-masks", val_fraction=0.0, epochs=1, batch=2, size=64, lr=1e-9, device="cpu",
    )  # fmt: skip
    ended = train(config, console=Console(quiet=True))
    assert ended.config.model == replace(
        asked, rates=(12, 24, 36), convs=(1, 1), align_corners=True, uniform_dilation=True
    )
    notes = " ".join(entry["text"] for entry in read_log(ended.folder / "log.jsonl") if entry["kind"] == "note")
    assert "weights by segmentation_models.pytorch; kept" in notes
    assert "pictures are resized as for the weights: at most 2048" in notes
    before, after = network.state_dict(), read_model(ended.folder / "best.safetensors")[0]
    torch.testing.assert_close(
        after["backbone.layer4.1.conv2.weight"], before["encoder.layer4.1.conv2.weight"], atol=1e-6, rtol=0
    )
