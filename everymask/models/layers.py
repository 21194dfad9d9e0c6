"""Blocks that several networks share."""

from __future__ import annotations

from torch import nn

from everymask.models.encoders import group_count
from everymask.models.specs import Norm


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, norm: Norm | None, *, relu: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size; with a norm it has no bias. Members: 0 convolution, 1 norm."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=norm is None),
    ]
    if norm == "group":
        layers.append(nn.GroupNorm(group_count(out_channels), out_channels))
    elif norm is not None:
        layers.append(nn.BatchNorm2d(out_channels))
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
