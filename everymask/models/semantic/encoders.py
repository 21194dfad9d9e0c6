"""Encoders of semantic networks: maps at every stride, and stages that dilate instead of striding."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.errors import ConfigError, WeightsError
from everymask.models.blocks.encoders import StridingBlocks, build_features, pad_before_shifts, replace_by_group_norm
from everymask.models.blocks.mit import MixTransformer, build_mit
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import MIT_ENCODERS


def build_semantic_encoder(
    name: str,
    channels: int,
    norm: Norm,
    *,
    depth: int = 5,
    output_stride: int = 32,
    uniform_dilation: bool = False,
    dense_swin: bool = False,
    mobilenet: Literal["timm", "torchvision"] = "timm",
    pretrained: Path | None = None,
) -> nn.Module:
    """A network that turns pictures of `channels` bands into maps at strides 2, 4 ... 2**depth, finest first.

    Some networks have no map at stride 2. Stages beyond `output_stride` dilate instead of striding, so their maps have
    that stride. With `uniform_dilation` the first block of a dilated ResNet stage has its stage's rate, not that of
    the stage before. A `dense_swin` is one as its authors have it for dense tasks (see `pad_before_shifts`).
    `mobilenet` says whose MobileNetV3 it is, as specs explain. Get the maps with `encode`, their widths and strides
    with `encoder_shape`.

    `ConfigError` when there is no such encoder, or it cannot do that; `WeightsError` when there are no ImageNet
    weights of it.
    """
    if name in MIT_ENCODERS:
        return _mit(name, channels, depth, output_stride, pretrained=pretrained)
    with torch.device("meta"):
        probe: Any = build_features(name, channels)
    strides = probe.feature_info.reduction()
    wanted = {stride: index for index, stride in enumerate(strides) if 2 <= stride <= 2**depth}
    options: dict[str, Any] = {} if output_stride >= 2**depth else {"output_stride": output_stride}
    if _format(probe) == "NHWC":
        options["strict_img_size"] = False
        if dense_swin:
            options["always_partition"] = True
    body = build_features(name, channels, pretrained=pretrained, out_indices=tuple(wanted.values()), **options)
    if dense_swin:
        pad_before_shifts(body)
    if uniform_dilation:
        _dilate_uniformly(body)
    if mobilenet == "torchvision":
        body = _torchvisions(body)
    set_norm(body, norm)
    return body


def set_norm(body: nn.Module, norm: Norm) -> None:
    """Give an encoder with batch norms those that its spec names, in place."""
    if norm == "group":
        replace_by_group_norm(body)
    if norm == "frozen":
        for module in body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)


def encode(body: nn.Module, images: Tensor) -> list[Tensor]:
    """The maps [B, C, h, w] of an encoder of `build_semantic_encoder`, finest first."""
    if _format(body) != "NHWC":
        maps: list[Tensor] = body(images)
        return maps
    # Such networks cut the picture into patches of 4x4 pixels, and want it to be filled with them.
    whole = F.pad(images, (0, -images.shape[3] % 4, 0, -images.shape[2] % 4))
    return [plane.permute(0, 3, 1, 2) for plane in body(whole)]


def encoder_shape(body: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of the maps that `encode` gives."""
    if isinstance(body, MixTransformer):
        return body.widths, (4, 8, 16, 32)
    if isinstance(body, StridingBlocks):
        return body.widths, body.strides
    info: Any = body.feature_info
    return tuple(info.channels()), tuple(info.reduction())


def _mit(name: str, channels: int, depth: int, output_stride: int, *, pretrained: Path | None) -> MixTransformer:
    if depth != 5 or output_stride != 32:
        raise ConfigError(f"{name} has four stages, up to stride 32, and cannot be dilated", hint="choose a ResNet")
    if pretrained:
        raise WeightsError(
            f"there are no ImageNet weights of {name} to fetch",
            hint="train from scratch, or name a file of your own with --weights FILE",
        )
    return build_mit(name, channels)


def _format(body: nn.Module) -> str:
    return str(getattr(getattr(body, "output_fmt", None), "value", "NCHW"))


def _torchvisions(mobilenet: nn.Module) -> nn.Module:
    """timm's MobileNetV3 made torchvision's."""
    _dilate_uniformly(mobilenet)
    for module in mobilenet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
    return StridingBlocks(mobilenet)


def _dilate_uniformly(body: nn.Module) -> None:
    stages = [getattr(body, name, None) for name in ("layer3", "layer4")]
    stages += list(getattr(body, "blocks", ()))
    for stage in stages:
        if isinstance(stage, nn.Sequential) and _wide_convolutions(stage[-1]):
            rate = _wide_convolutions(stage[-1])[0].dilation
            for convolution in _wide_convolutions(stage[0]):
                # Convolutions that pad by what the picture needs have no padding of their own.
                if convolution.padding != (0, 0):
                    height, width = convolution.kernel_size
                    convolution.padding = (rate[0] * (height // 2), rate[1] * (width // 2))
                convolution.dilation = rate


def _wide_convolutions(block: nn.Module) -> list[nn.Conv2d]:
    return [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
