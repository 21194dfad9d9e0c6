"""What semantic networks promise besides the contract of all networks: their heads, void, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, WeightsError
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.semantic import DeepLabV3, SegFormer, UNet
from tests.models.networks import SEMANTIC, bare_network, map_batch, own_network
from tests.quick import quick

# Heads ask for other numbers of logits where regions are gathered (hrnet-ocr) and boundaries drawn (pidnet).
HEADS = pytest.mark.parametrize(("head", "classes", "channels"), [("binary", 2, 1), ("multilabel", 3, 3)])


@HEADS
@pytest.mark.parametrize("name", quick(SEMANTIC, ["unet", "deeplabv3", "segformer", "pidnet"]))
def test_heads_of_all_kinds(name: str, head: str, classes: int, channels: int) -> None:
    module = bare_network(replace(SEMANTIC[name], head=head), classes)
    assert isinstance(module, SemanticModel)
    planes = module.logits(torch.rand(2, 3, 32, 64, device="meta"), auxiliary=True)
    assert {plane.shape for plane in planes} == {(2, channels, 32, 64)}
    assert bool(module.class_rows().counts) == (head != "binary")


@HEADS
@pytest.mark.parametrize("name", quick(["deeplabv3", "hrnet-ocr", "pidnet"], ["deeplabv3", "pidnet"]))
def test_losses_of_heads_of_all_kinds(name: str, head: str, classes: int, channels: int) -> None:
    module = own_network(replace(SEMANTIC[name], head=head), classes)
    losses = module.loss(map_batch(classes=classes), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())


@pytest.mark.parametrize("name", ["unet", "deeplabv3", "pidnet"])
def test_void_truth_teaches_nothing(name: str) -> None:
    void = SemanticMap(np.full((32, 64), 255))
    losses = own_network(SEMANTIC[name]).loss(replace(map_batch(), truths=(void, void)))
    assert all(loss == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()


def test_an_encoder_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no encoder 'resnet5o'") as caught:
        build_semantic(UNet(encoder="resnet5o"), 2)
    assert "resnet50" in str(caught.value.hint)


def test_an_encoder_that_cannot_be_dilated_is_refused() -> None:
    for name in ("mit_b0", "densenet121"):
        with pytest.raises(ConfigError, match=name):
            build_semantic(DeepLabV3(encoder=name), 2)


def test_weights_that_nobody_has_are_refused() -> None:
    with pytest.raises(WeightsError, match="mit_b0"):
        build_semantic(SegFormer(), 2, pretrained_encoder=Path("any.safetensors"))
