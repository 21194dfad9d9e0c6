"""Our semantic networks and those of segmentation_models.pytorch are the same: same weights, same logits."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from everymask.errors import WeightsError
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.smp import from_smp
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import (
    FCN,
    DeepLabV3,
    DeepLabV3Plus,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    UNetPlusPlus,
    UPerNet,
    as_smp,
)
from tests.models.random_weights import well_scaled

pytestmark = pytest.mark.slow

PAIRS: dict[str, tuple[type[nn.Module], SemanticModelSpec, dict[str, Any]]] = {
    "unet-resnet18": (smp.Unet, UNet(encoder="resnet18"), {}),
    "unet-resnet34": (smp.Unet, UNet(encoder="resnet34", channels=5), {}),
    "unet-bilinear": (
        smp.Unet,
        UNet(encoder="resnet18", upsampling="bilinear"),
        {"decoder_interpolation": "bilinear"},
    ),
    "unet-timm": (smp.Unet, UNet(encoder="mobilenetv3_small_100"), {"encoder_name": "tu-mobilenetv3_small_100"}),
    "unet++-resnet34": (smp.UnetPlusPlus, UNetPlusPlus(encoder="resnet34"), {}),
    "deeplabv3-resnet18": (
        smp.DeepLabV3,
        DeepLabV3(encoder="resnet18", rates=(2, 4, 6)),
        {"decoder_atrous_rates": (2, 4, 6)},
    ),
    "deeplabv3-resnet50-16": (
        smp.DeepLabV3,
        DeepLabV3(encoder="resnet50", output_stride=16, rates=(1, 2, 3)),
        {"encoder_output_stride": 16, "decoder_atrous_rates": (1, 2, 3)},
    ),
    "deeplabv3+-resnet34": (smp.DeepLabV3Plus, DeepLabV3Plus(encoder="resnet34"), {}),
    "deeplabv3+-resnet18-8": (
        smp.DeepLabV3Plus,
        DeepLabV3Plus(encoder="resnet18", output_stride=8),
        {"encoder_output_stride": 8},
    ),
    "pspnet-resnet34": (smp.PSPNet, PSPNet(encoder="resnet34"), {}),
    "pspnet-resnet50": (smp.PSPNet, PSPNet(encoder="resnet50"), {}),
    "unet-resnet50": (
        smp.Unet,
        UNet(encoder="resnet50", decoder_channels=(64, 32, 32, 16, 16)),
        {"decoder_channels": (64, 32, 32, 16, 16)},
    ),
    "upernet-resnet34": (smp.UPerNet, UPerNet(encoder="resnet34"), {}),
    "segformer-b0": (smp.Segformer, SegFormer(encoder="mit_b0"), {}),
    "segformer-b1": (smp.Segformer, SegFormer(encoder="mit_b1", channels=4), {}),
}


@pytest.mark.parametrize("name", PAIRS)
def test_same_logits(name: str) -> None:
    kind, spec, options = PAIRS[name]
    spec = as_smp(spec)
    chosen = {"encoder_name": spec.encoder, "in_channels": spec.channels} | options
    images = torch.randn(2, spec.channels, 64, 96, generator=torch.Generator().manual_seed(1))
    reference = well_scaled(kind(encoder_weights=None, classes=7, **chosen), images)
    ours = build_semantic(spec, 7).eval()
    load_exactly(ours, from_smp(reference.state_dict(), spec), name)
    with torch.inference_mode():
        expected, found = reference(images), ours(images).logits
    assert 0.3 < expected.std() < 3
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_other_networks_are_refused() -> None:
    tensors = smp.Unet("resnet18", encoder_weights=None, decoder_attention_type="scse").state_dict()
    ours = build_semantic(UNet(encoder="resnet18"), 2)
    with pytest.raises(WeightsError, match="attention"):
        load_exactly(ours, from_smp(tensors, UNet(encoder="resnet18")), "scse")
    with pytest.raises(WeightsError, match=r"decoder\.blocks\.0"):
        from_smp(tensors, UPerNet())
    with pytest.raises(WeightsError, match="no FCN"):
        from_smp(tensors, FCN())


def test_a_classification_head_is_left_out() -> None:
    reference = smp.Unet("resnet18", encoder_weights=None, classes=2, aux_params={"classes": 3})
    load_exactly(build_semantic(UNet(encoder="resnet18"), 2), from_smp(reference.state_dict(), UNet()), "with head")
