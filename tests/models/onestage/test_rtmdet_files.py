"""mmdetection's files of RTMDet are read as files: by whatever reads its other detectors, and to start a training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from everymask.api import load
from everymask.models.build import build
from everymask.models.specs.onestage import RTMDet, RTMDetIns
from everymask.train.start import read_source
from tests.models.onestage.yolox_reference import seeded


def as_mmdetection(module: nn.Module) -> dict[str, Tensor]:
    """The names of mmdetection, where a layer that maps share stands once for each of the three."""
    named: dict[str, Tensor] = {"data_preprocessor.mean": torch.zeros(3)}
    for name, tensor in module.state_dict().items():
        shared = re.match(r"^head\.(cls|reg)_convs\.(\d)\.(conv|bn)\.(.*)$", name)
        if shared is None:
            named[name.replace("head.", "bbox_head.", 1) if name.startswith("head.") else name] = tensor
            continue
        branch, layer, part, rest = shared.groups()
        level, _, leaf = rest.partition(".") if part == "bn" else ("", "", rest)
        for own in [level] if level else "012":
            named[f"bbox_head.{branch}_convs.{own}.{layer}.{part}.{leaf}"] = tensor
    return named


@pytest.mark.parametrize("kind", [RTMDet, pytest.param(RTMDetIns, marks=pytest.mark.slow)])
def test_a_file_of_mmdetection_predicts_and_starts_a_training(kind: type[RTMDet], tmp_path: Path) -> None:
    module = seeded(build(kind(encoder="cspnext_tiny"), 80))
    file = tmp_path / "rtmdet_tiny.pth"
    tensors = as_mmdetection(module)
    if kind is RTMDetIns:
        tensors |= {name.replace("cls_convs", "reg_convs"): own for name, own in tensors.items() if "cls_convs" in name}
    torch.save({"state_dict": tensors, "meta": {}}, file)
    card = load(file, device="cpu").card
    assert (type(card.spec), card.spec.encoder, len(card.labels)) == (kind, "cspnext_tiny", 80)
    source = read_source(str(file))
    assert source is not None and type(source.spec) is kind and source.labels is not None
