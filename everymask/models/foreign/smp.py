"""Checkpoints of segmentation_models.pytorch (0.6) under our parameter names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.semantic.pspnet import SIDES
from everymask.models.specs.semantic import (
    DeepLabV3,
    DeepLabV3Plus,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    UNetPlusPlus,
    UPerNet,
)

_Rule: TypeAlias = tuple[str, str | Callable[[re.Match[str]], str]]

_CURE = "name the network that the weights are of, with --model and --encoder"
_UNET: tuple[_Rule, ...] = ((r"^decoder\.blocks\.(\d)\.", r"decoder.\1."),)
_UNET_PLUS_PLUS: tuple[_Rule, ...] = (
    (r"^decoder\.blocks\.x_0_4\.conv(\d)\.", lambda found: f"finals.0.{int(found[1]) - 1}."),
    (
        r"^decoder\.blocks\.x_(\d)_(\d)\.conv(\d)\.",
        lambda found: f"nodes.{3 - int(found[2])}_{int(found[2]) - int(found[1]) + 1}.{int(found[3]) - 1}.",
    ),
)
_DEEPLABV3: tuple[_Rule, ...] = (
    (r"^decoder\.(?:0|aspp)\.", "classifier.0."),
    (r"^decoder\.(?:1|conv)\.", "classifier.1."),
    (r"^decoder\.(?:2|bn)\.", "classifier.2."),
    (r"^segmentation_head\.0\.", "classifier.4."),
)
# A separable convolution is a member of its own there, and beside its norm here.
_SEPARABLE: tuple[_Rule, ...] = (
    (r"^decoder\.aspp\.0\.convs\.([123])\.0\.([01])\.", r"aspp.convs.\1.\2."),
    (r"^decoder\.aspp\.0\.convs\.([123])\.1\.", r"aspp.convs.\1.2."),
    (r"^decoder\.aspp\.0\.", "aspp."),
    (r"^decoder\.aspp\.1\.([01])\.", r"refine.0.\1."),
    (r"^decoder\.aspp\.2\.", "refine.0.2."),
    (r"^decoder\.block1\.", "skip."),
    (r"^decoder\.block2\.0\.([01])\.", r"fuse.0.\1."),
    (r"^decoder\.block2\.1\.", "fuse.0.2."),
)
_PSPNET: tuple[_Rule, ...] = (
    (r"^decoder\.psp\.blocks\.(\d)\.pool\.1\.0\.", r"pyramid.parts.\1.1."),
    (r"^decoder\.psp\.blocks\.(\d)\.pool\.1\.1\.", r"pyramid.parts.\1.2."),
    (r"^decoder\.conv\.", "bottleneck."),
)
_UPERNET: tuple[_Rule, ...] = (
    (r"^decoder\.feature_norms\.", "norms."),
    (r"^decoder\.psp\.blocks\.(\d)\.1\.0\.", r"pyramid.parts.\1.1."),
    (r"^decoder\.psp\.blocks\.(\d)\.1\.1\.", r"pyramid.parts.\1.2."),
    (r"^decoder\.psp\.out_conv\.", "bottleneck."),
    (
        r"^decoder\.fpn_lateral_blocks\.(\d)\.conv_norm_relu\.",
        lambda found: f"laterals.{2 - int(found[1])}.",
    ),
    (r"^decoder\.fpn_conv_blocks\.(\d)\.", lambda found: f"smooth.{2 - int(found[1])}."),
    (r"^decoder\.fusion_block\.", "fuse."),
)
_SEGFORMER: tuple[_Rule, ...] = (
    (r"^decoder\.mlp_stage\.(\d)\.linear\.", lambda found: f"decode_head.linear_c{4 - int(found[1])}.proj."),
    (r"^decoder\.fuse_stage\.0\.", "decode_head.linear_fuse.conv."),
    (r"^decoder\.fuse_stage\.1\.", "decode_head.linear_fuse.bn."),
    (r"^segmentation_head\.0\.", "decode_head.linear_pred."),
)
_SHARED: tuple[_Rule, ...] = (
    (r"^encoder\.(?:model\.)?", "backbone."),
    (r"^segmentation_head\.0\.", "classifier."),
)


def from_smp(tensors: Mapping[str, Tensor], spec: SemanticModelSpec) -> dict[str, Tensor]:
    """The `state_dict()` of such a network, named for the network of `spec`; its logits are then the same.

    The spec must describe the network as that library builds it, which `as_smp(spec)` does for its defaults; for its
    encoders "tu-..." set `uniform_dilation` to False. Its ResNets, MiTs and "tu-" encoders are ours under the same
    name; weights of others are refused. A classification head is left out.

    `WeightsError` for an architecture that the library does not have, or parameters that have no place here.
    """
    rules = _rules(spec)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("classification_head.") or _is_unused(name, spec):
            continue
        renamed = _renamed(name, rules)
        if renamed is None:
            raise WeightsError(f"{name} has no place in a {type(spec).__name__}", hint=_CURE)
        named[renamed] = tensor
    return _as_built_here(named) if isinstance(spec, PSPNet) else named


def _rules(spec: SemanticModelSpec) -> tuple[_Rule, ...]:
    match spec:
        case UNet():
            return _UNET + _SHARED
        case UNetPlusPlus():
            return _UNET_PLUS_PLUS + _SHARED
        case DeepLabV3():
            return _DEEPLABV3 + _SHARED
        case DeepLabV3Plus():
            return _SEPARABLE + _SHARED
        case PSPNet():
            return _PSPNET + _SHARED
        case UPerNet():
            return _UPERNET + _SHARED
        case SegFormer():
            return _SEGFORMER + _SHARED
        case _:
            raise WeightsError(f"segmentation_models.pytorch has no {type(spec).__name__}", hint=_CURE)


def _renamed(name: str, rules: tuple[_Rule, ...]) -> str | None:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return None


def _is_unused(name: str, spec: SemanticModelSpec) -> bool:
    """Its ResNets keep the stages beyond the depth in use."""
    depth = spec.depth if isinstance(spec, PSPNet) else 5
    return name.startswith(tuple(f"encoder.layer{stage}." for stage in range(depth, 5)))


def _as_built_here(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """A PSPNet whose pyramid follows the encoder's map, and whose mean over all of the picture has a norm too."""
    joined = named["bottleneck.0.weight"]
    half = joined.shape[1] // 2
    named["bottleneck.0.weight"] = torch.cat([joined[:, half:], joined[:, :half]], dim=1)
    part = f"pyramid.parts.{SIDES.index(1)}"
    bias = named.pop(f"{part}.1.bias", None)
    if bias is not None:
        named |= {f"{part}.2.weight": torch.ones_like(bias), f"{part}.2.bias": bias}
        # The norm adds its epsilon, 1e-5, to the variance.
        named |= {
            f"{part}.2.running_mean": torch.zeros_like(bias),
            f"{part}.2.running_var": torch.ones_like(bias) - 1e-5,
        }
    return named
