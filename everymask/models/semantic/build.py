"""From the spec of a semantic network to the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import assert_never

from everymask.models.blocks.channels import with_channels
from everymask.models.change.fusion import fused
from everymask.models.semantic.deeplab import DeepLabV3Network, DeepLabV3PlusNetwork
from everymask.models.semantic.fcn import FCNNetwork
from everymask.models.semantic.hrnet import HRNetNetwork
from everymask.models.semantic.lraspp import LRASPPNetwork
from everymask.models.semantic.network import SemanticModel
from everymask.models.semantic.pidnet import PIDNetNetwork
from everymask.models.semantic.pspnet import PSPNetwork
from everymask.models.semantic.segformer import SegFormerNetwork
from everymask.models.semantic.unet import UNetNetwork
from everymask.models.semantic.unetpp import UNetPlusPlusNetwork
from everymask.models.semantic.upernet import UPerNetNetwork
from everymask.models.specs.semantic import (
    FCN,
    LRASPP,
    DeepLabV3,
    DeepLabV3Plus,
    HRNet,
    PIDNet,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    UNetPlusPlus,
    UPerNet,
)


def build_semantic(
    spec: SemanticModelSpec, num_classes: int, *, pretrained_encoder: Path | None = None
) -> SemanticModel:
    """The untrained network of `spec` for `num_classes` classes.

    `pretrained_encoder` is a file of the encoder's ImageNet weights. `ConfigError` when the encoder does not exist or
    cannot do what the network needs, `WeightsError` when there are no such weights of it.
    """
    if spec.fusion is None:
        return _built(spec, num_classes, pretrained_encoder)
    channels = 2 * spec.channels if spec.fusion == "early" else spec.channels
    head = "multiclass" if spec.head == "from-to" else spec.head
    module = _built(replace(spec, channels=channels, fusion=None, head=head), num_classes, pretrained_encoder)
    return fused(module, spec)


def _built(spec: SemanticModelSpec, num_classes: int, pretrained_encoder: Path | None) -> SemanticModel:
    """The network that sees one picture."""
    match spec:
        case UNet():
            return with_channels(UNetNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder), spec.pruned)
        case UNetPlusPlus():
            return UNetPlusPlusNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case DeepLabV3():
            return DeepLabV3Network(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case DeepLabV3Plus():
            return DeepLabV3PlusNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case PSPNet():
            return PSPNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case UPerNet():
            return UPerNetNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case SegFormer():
            return SegFormerNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case FCN():
            return FCNNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case HRNet():
            return HRNetNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case LRASPP():
            return LRASPPNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case PIDNet():
            return PIDNetNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case _:
            assert_never(spec)
