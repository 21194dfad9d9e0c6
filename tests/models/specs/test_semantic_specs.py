"""Specs of semantic networks: what they refuse, and what they say about their parents' variants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everymask.errors import ConfigError
from everymask.models.specs.semantic import (
    LRASPP,
    MIT_ENCODERS,
    SEMANTIC_KINDS,
    DeepLabV3,
    DeepLabV3Plus,
    HRNet,
    PIDNet,
    PSPNet,
    SegFormer,
    SemanticSpec,
    UNet,
    UNetPlusPlus,
    as_smp,
    segformer,
    unet_original,
)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: UNet(encoder=""), "encoder must name a network"),
        (lambda: UNet(channels=0), "channels must be at least 1, but got 0"),
        (lambda: UNet(norm="layer"), "norm must be one of batch, frozen, group, but got 'layer'"),
        (lambda: UNet(head="softmax"), "head must be one of multiclass, binary, multilabel"),
        (lambda: UNet(decoder_channels=(64, 32)), "decoder_channels must be 5 numbers"),
        (lambda: UNetPlusPlus(decoder_channels=(64, 32, 16, 8, 0)), "at least 1"),
        (lambda: UNet(upsampling="bicubic"), "upsampling must be one of nearest, bilinear, transposed"),
        (lambda: DeepLabV3(output_stride=32), "output_stride must be one of 8, 16, but got 32"),
        (lambda: DeepLabV3(rates=(6, 12)), "rates must be 3 numbers"),
        (lambda: DeepLabV3Plus(convs=(1, 0)), "convs must be two counts"),
        (lambda: PSPNet(kernels=(5, 1)), "kernels must be two of 1 and 3"),
        (lambda: PSPNet(dropout=1.0), "dropout must lie in 0 to below 1, but got 1.0"),
        (lambda: SegFormer(decoder_channels=0), "decoder_channels must be a number of at least 1, but got 0"),
        (lambda: HRNet(encoder="hrnet_w19"), "encoder must be one of hrnet_w18"),
        (lambda: HRNet(ocr_channels=0), "ocr_channels and ocr_key_channels must be 2 numbers of at least 1"),
        (lambda: PIDNet(encoder="pidnet_l"), "encoder must be one of pidnet_s, pidnet_m, but got 'pidnet_l'"),
        (lambda: LRASPP(mobilenet="keras"), "mobilenet must be one of timm, torchvision"),
        (lambda: DeepLabV3(mobilenet="torchvision"), "MobileNetV3 is asked for, but the encoder is resnet50"),
        (lambda: DeepLabV3(auxiliary_stage=5), "auxiliary_stage must be one of 3, 4, but got 5"),
        (lambda: segformer("b6"), "size must be one of b0, b1"),
    ],
)
def test_impossible_networks_are_refused(build: Callable[[], SemanticSpec], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_the_variants_of_the_papers() -> None:
    assert unet_original().decoder_channels == (512, 256, 128, 64)
    assert [segformer(name.removeprefix("mit_")).decoder_channels for name in MIT_ENCODERS] == [
        256,
        256,
        768,
        768,
        768,
        768,
    ]


@pytest.mark.parametrize("kind", SEMANTIC_KINDS)
def test_smp_has_no_auxiliary_heads_and_aligns_corners(kind: str) -> None:
    spec = as_smp(SEMANTIC_KINDS[kind](channels=4))
    assert spec.channels == 4 and type(spec) is SEMANTIC_KINDS[kind]
    if kind in {"unet++", "deeplabv3", "deeplabv3+", "pspnet", "upernet"}:
        assert spec.auxiliary is False
    if kind in {"deeplabv3", "deeplabv3+", "pspnet", "upernet", "segformer"}:
        assert spec.align_corners is True
