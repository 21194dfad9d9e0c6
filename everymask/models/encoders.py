"""Image encoders, built by timm: the only place that knows timm."""

from __future__ import annotations

from typing import Any

import timm
import torch.nn.functional as F
from timm.layers.norm_act import BatchNormAct2d, GroupNormAct
from torch import Tensor, nn

from everymask.errors import WeightsError
from everymask.models.specs import Norm, RegionProfile


def build_encoder(
    name: str, channels: int, norm: Norm, profile: RegionProfile, *, pretrained: bool = False
) -> nn.Module:
    """A network that turns pictures of `channels` bands into four maps at strides 4, 8, 16 and 32, finest first.

    Its parameters carry timm's names, which for ResNets are torchvision's (`conv1`, `bn1`, `layer1` ... `layer4`);
    `encoder_channels` tells the widths. `pretrained` fetches ImageNet weights through timm; for other channel counts
    the first convolution is adapted. `WeightsError` when they cannot be fetched.
    """
    is_resnet = name.startswith("res")
    try:
        body = timm.create_model(
            name, pretrained=pretrained, features_only=True, in_chans=channels, out_indices=(1, 2, 3, 4)
        )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise WeightsError(
            f"the ImageNet weights of {name} could not be fetched: {error}",
            hint="train from scratch, or name a file of your own with --weights FILE",
        ) from error
    if profile.stride_in_1x1:
        _stride_in_1x1(body)
    if profile.pool_padding == "end" and is_resnet:
        body.maxpool = EndPaddedMaxPool()
    if norm == "group":
        _replace_by_group_norm(body)
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = profile.norm_eps if is_resnet else module.eps
    return body


def encoder_channels(body: nn.Module) -> tuple[int, ...]:
    """Channels of the four maps that an encoder of `build_encoder` gives."""
    info: Any = body.feature_info
    return tuple(info.channels())


class EndPaddedMaxPool(nn.Module):
    """3x3 max-pooling with stride 2 that pads at right and bottom only, as TensorFlow's "same" does."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), kernel_size=3, stride=2)


def _stride_in_1x1(body: nn.Module) -> None:
    for name in ("layer2", "layer3", "layer4"):
        first: Any = body.get_submodule(f"{name}.0")
        if hasattr(first, "conv3"):
            first.conv1.stride, first.conv2.stride = first.conv2.stride, (1, 1)


def _replace_by_group_norm(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, BatchNormAct2d):
            replacement: nn.Module = GroupNormAct(child.num_features, num_groups=group_count(child.num_features))
            replacement.act = child.act
            setattr(module, name, replacement)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(group_count(child.num_features), child.num_features))
        else:
            _replace_by_group_norm(child)


def group_count(channels: int) -> int:
    """32 groups (Wu and He 2018), or the largest smaller power of two that divides the channels."""
    groups = 32
    while channels % groups:
        groups //= 2
    return groups
