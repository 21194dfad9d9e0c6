"""The blocks of these networks, members named as in their authors' code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NORM_EPS = 1e-3
"""What YOLOX's norms add to a variance."""


class ConvNorm(nn.Module):
    """A convolution that keeps the size (or halves it, with stride 2), a batch norm and SiLU: [B, C, h, w]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        eps: float = NORM_EPS,
        momentum: float = 0.03,
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn: nn.BatchNorm2d = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        self.act: nn.SiLU = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class SeparableConv(nn.Module):
    """A convolution channel by channel, then one of single pixels."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv: ConvNorm = ConvNorm(in_channels, in_channels, kernel, stride, groups=in_channels)
        self.pconv: ConvNorm = ConvNorm(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pconv(self.dconv(x))
        return out


def with_maxima(x: Tensor, sides: tuple[int, ...] = (5, 9, 13)) -> Tensor:
    """[B, (1 + n) C, h, w]: the map, and its maxima over squares of each side (He et al. 2015, SPP)."""
    return torch.cat([x, *(nn.functional.max_pool2d(x, side, 1, side // 2) for side in sides)], dim=1)
