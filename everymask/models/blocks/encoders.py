"""Image encoders, built by timm: the only place that knows timm."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d, GroupNormAct
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn

from everymask.errors import ConfigError, WeightsError
from everymask.models.specs.regions import Norm, RegionProfile, Stages
from everymask.models.tracing import cubic

# What timm calls the stages of an HRNet is no part of it by that name.
HRNET_STAGES = (
    ("conv1", "bn1", "conv2", "bn2"),
    ("layer1", "transition1"),
    ("stage2", "transition2"),
    ("stage3", "transition3"),
)


def build_encoder(
    name: str,
    channels: int,
    norm: Norm,
    profile: RegionProfile,
    *,
    stages: Stages = "all",
    pretrained: Path | None = None,
) -> nn.Module:
    """A network that turns pictures of `channels` bands into four maps at strides 4, 8, 16 and 32, finest first.

    With `stages` "last" it gives two maps at stride 32: of the first block of the last stage, and of its end.
    Its parameters carry timm's names, which for ResNets are torchvision's (`conv1`, `bn1`, `layer1` ... `layer4`);
    `encoder_channels` tells the widths. `pretrained` is a file of its ImageNet weights; for other channel counts
    the first convolution is adapted.
    """
    is_resnet = name.startswith("res")
    body = build_features(name, channels, pretrained=pretrained, out_indices=(1, 2, 3, 4))
    if profile.stride_in_1x1:
        _stride_in_1x1(body)
    if profile.pool_padding == "end" and is_resnet:
        body.maxpool = EndPaddedMaxPool()
    if norm == "group":
        replace_by_group_norm(body)
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = profile.norm_eps if is_resnet else module.eps
    return body if stages == "all" else LastStage(body)


def build_features(name: str, channels: int, *, pretrained: Path | None = None, **options: Any) -> nn.Module:
    """timm's network of that name as one that gives maps, for pictures of `channels` bands, and says its `stages`.

    `options` are timm's, such as `out_indices` and `output_stride`. `pretrained` is a file of its ImageNet weights that
    fits. `ConfigError` when timm has no such network, or none that takes the options.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise ConfigError(f"there is no encoder {name!r}", hint=hint)
    known = _from_file(pretrained)
    try:
        body: Any = timm.create_model(name, features_only=True, in_chans=channels, **known, **options)
    except (TypeError, AssertionError, IndexError) as error:
        told = ", ".join(f"{key} {value}" for key, value in options.items())
        raise ConfigError(f"{name} cannot be an encoder with {told}: {error}") from error
    body.stages = _stages(body)
    features: nn.Module = body
    return features


def build_vit(name: str, channels: int, patch: int, side: int, *, pretrained: Path | None = None) -> nn.Module:
    """timm's vision transformer of that name for patches of `patch` pixels of pictures of any size, with its `stages`.

    Its positions are those of pictures of `side` x `side`, and interpolated for others. Weights of a file, whose
    patches and pictures may have other sizes, are resampled.
    """
    options: dict[str, Any] = {"patch_size": patch, "img_size": side, "dynamic_img_size": True, "num_classes": 0}
    body: Any = timm.create_model(name, in_chans=channels, **options, **_from_file(pretrained))
    quarter = len(body.blocks) // 4
    parts = [tuple(f"blocks.{row}" for row in range(stage * quarter, (stage + 1) * quarter)) for stage in range(3)]
    body.stages = (("patch_embed",), *parts)
    vit: nn.Module = body
    return vit


def vit_tokens(body: Any, images: Tensor) -> Tensor:
    """What the first block of a network of `build_vit` is given: tokens [B, N, C], the patches last, row by row."""
    patches = body.patch_embed(images)
    prefix = [token.expand(patches.shape[0], -1, -1) for token in (body.cls_token, body.reg_token) if token is not None]
    placed = 0 if body.no_embed_class else body.num_prefix_tokens
    positions = body.pos_embed[:, placed:].float().transpose(1, 2).unflatten(2, body.patch_embed.grid_size)
    around = cubic(positions, (patches.shape[1], patches.shape[2])).flatten(2).transpose(1, 2).to(patches.dtype)
    tokens = patches.flatten(1, 2)
    if body.no_embed_class:
        found = torch.cat([*prefix, tokens + around], dim=1)
    else:
        found = torch.cat([*prefix, tokens], dim=1) + torch.cat([body.pos_embed[:, :placed], around], dim=1)
    answer: Tensor = body.norm_pre(body.pos_drop(found))
    return answer


def vit_blocks(body: Any) -> list[Any]:
    """Its blocks, which take `attn_mask` [B, 1, N, N], added to their attention."""
    return list(body.blocks)


def _from_file(pretrained: Path | None) -> dict[str, Any]:
    """How timm is told to take the weights of a file."""
    if pretrained is None:
        return {}
    # Whatever timm's own settings say of servers and formats, the weights are in this file.
    overlay = {"file": str(pretrained), "custom_load": False, "source": ""}
    return {"pretrained": True, "pretrained_cfg_overlay": overlay}


@dataclass(frozen=True, slots=True)
class ImageNet:
    """What timm says of an encoder's ImageNet weights: the repository at Hugging Face, the licence, and by which mean
    and spread of each channel pictures are normalised.
    """

    repository: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def imagenet_weights(name: str) -> ImageNet | None:
    """Of the encoder's ImageNet weights; None where timm knows none."""
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None or not config.hf_hub_id:
        return None
    return ImageNet(config.hf_hub_id, config.license or "licence not stated", config.mean, config.std)


def encoder_shapes(name: str) -> dict[str, torch.Size]:
    """The tensors of a timm network that a file of its weights must have: all but classifier and norms' counters."""
    if not timm.is_model(name):
        raise WeightsError(f"{name} is no network of timm, whose weights these are", hint="choose another --encoder")
    with torch.device("meta"):
        whole: Any = timm.create_model(name)
    classifiers = whole.pretrained_cfg.get("classifier") or ()
    left_out = tuple(f"{part}." for part in ([classifiers] if isinstance(classifiers, str) else classifiers))
    return {
        key: tensor.shape
        for key, tensor in whole.state_dict().items()
        if not key.startswith(left_out) and not key.endswith("num_batches_tracked")
    }


def _stages(body: Any) -> tuple[tuple[str, ...], ...]:
    """The parts of timm's network up to its maps at strides 2, 4, 8 and 16, each without those of the stages before."""
    modules = [name for name, _ in body.named_modules()]
    if "transition1" in modules:
        return HRNET_STAGES
    maps = body.feature_info.info
    ends: dict[int, int] = {}
    # Each map halves the one before; where stages are dilated, their strides no longer tell.
    for stage, info in enumerate(maps, start=round(math.log2(maps[0]["reduction"]))):
        rows = _rows(modules, info["module"]) or _rows(modules, info["module"].replace(".", "_", 1))
        if rows:
            ends[max(stage, 1)] = rows[-1]
    parts: list[list[str]] = [[], [], [], []]

    def divide(owner: nn.Module, prefix: str) -> None:
        for child, module in owner.named_children():
            name, rows = prefix + child, _rows(modules, prefix + child)
            first, last = (next((stage for stage, end in ends.items() if row <= end), 5) for row in (rows[0], rows[-1]))
            if first < last:
                divide(module, f"{name}.")
            elif first <= len(parts):
                parts[first - 1].append(name)

    divide(body, "")
    return tuple(map(tuple, parts))


def _rows(modules: list[str], name: str) -> list[int]:
    """Where in the list of all modules one stands with its parts."""
    return [row for row, module in enumerate(modules) if f"{module}.".startswith(f"{name}.")]


def encoder_channels(body: nn.Module) -> tuple[int, ...]:
    """Channels of the maps that an encoder of `build_encoder` gives."""
    if isinstance(body, LastStage):
        return body.channels
    info: Any = body.feature_info
    return tuple(info.channels())


class LastStage(nn.Module):
    """An encoder of which two maps at stride 32 are seen: after the first block of the last stage, and at its end.

    The last stage begins with the last block that strides. Parameters keep their names.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        for name, child in body.named_children():
            self.add_module(name, child)
        self.stages: Tensor | nn.Module = body.stages
        convolutions = [[m for m in block.modules() if isinstance(m, nn.Conv2d)] for block in _blocks(self)]
        self.first: int = max(
            index for index, parts in enumerate(convolutions) if any(m.stride != (1, 1) for m in parts)
        )
        self.channels: tuple[int, int] = (convolutions[self.first][-1].out_channels, convolutions[-1][-1].out_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(_blocks(self)):
            x = block(x)
            if index == self.first:
                maps.append(x)
        return [*maps, x]


class StridingBlocks(nn.Module):
    """An encoder whose finer maps are those right after a block that strides, not those before the next one.

    The last map is the encoder's last. `widths` and `strides` tell of all. Parameters keep their names.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        for name, child in body.named_children():
            self.add_module(name, child)
        self.stages: Tensor | nn.Module = body.stages
        self.seen: list[int] = []
        widths, strides, stride, width = [], [], 1, 0
        for index, block in enumerate(_blocks(self)):
            convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
            steps = math.prod(m.stride[0] for m in convolutions)
            stride, width = stride * steps, convolutions[-1].out_channels if convolutions else width
            # A map without its norm, after a lone convolution, is none.
            if steps > 1 and not isinstance(block, nn.Conv2d):
                self.seen.append(index)
                widths.append(width)
                strides.append(stride)
        self.widths: tuple[int, ...] = (*widths, width)
        self.strides: tuple[int, ...] = (*strides, stride)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for index, block in enumerate(_blocks(self)):
            x = block(x)
            if index in self.seen:
                maps.append(x)
        return [*maps, x]


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of an encoder in the order of their work."""
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from _blocks(child)
        else:
            yield child


class EndPaddedMaxPool(nn.Module):
    """3x3 max-pooling with stride 2 that pads at right and bottom only, as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), kernel_size=3, stride=2)


class DenseSwinBlock(SwinTransformerBlock):
    """A Swin block that fills a map up to whole windows before it shifts them, where timm's does so afterwards."""

    def _attn(self, x: Tensor) -> Tensor:
        (height, width), (down, across) = x.shape[1:3], self.window_size
        whole = F.pad(x, (0, 0, 0, -width % across, 0, -height % down))
        seen: Tensor = super()._attn(whole)
        return seen[:, :height, :width]


def pad_before_shifts(body: nn.Module) -> None:
    """Let a Swin see maps that are no whole number of windows as its authors' code for dense tasks does, in place."""
    for module in body.modules():
        if type(module) is SwinTransformerBlock:
            # The weights and their names stay; only the way through the block differs.
            module.__class__ = DenseSwinBlock


def _stride_in_1x1(body: nn.Module) -> None:
    for name in ("layer2", "layer3", "layer4"):
        first: Any = body.get_submodule(f"{name}.0")
        if hasattr(first, "conv3"):
            first.conv1.stride, first.conv2.stride = first.conv2.stride, (1, 1)


def replace_by_group_norm(module: nn.Module) -> None:
    """Put a group norm in the place of every batch norm, in place."""
    for name, child in list(module.named_children()):
        if isinstance(child, BatchNormAct2d):
            replacement: nn.Module = GroupNormAct(child.num_features, num_groups=group_count(child.num_features))
            replacement.act = child.act
            setattr(module, name, replacement)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(group_count(child.num_features), child.num_features))
        else:
            replace_by_group_norm(child)


def group_count(channels: int) -> int:
    """32 groups (Wu and He 2018), or the largest smaller power of two that divides the channels."""
    groups = 32
    while channels % groups:
        groups //= 2
    return groups
