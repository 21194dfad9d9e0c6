"""Maps of an encoder to the one that queries look at (LW-DETR, Chen et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import ChannelNorm

_BLOCKS = 3


class Projector(nn.Module):
    """Maps [B, C, h, w] of one size to one of `width` channels: half of them pass the blocks, the others pass by."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.reduce: nn.Sequential = conv_norm(in_channels, 2 * half, 1)
        self.blocks: nn.ModuleList = nn.ModuleList(
            nn.Sequential(conv_norm(half, half, 3), conv_norm(half, half, 3)) for _ in range(_BLOCKS)
        )
        self.join: nn.Sequential = conv_norm((2 + _BLOCKS) * half, width, 1)
        self.norm: ChannelNorm = ChannelNorm(width)

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = list(self.reduce(torch.cat(maps, dim=1)).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        out: Tensor = self.norm(self.join(torch.cat(parts, dim=1)))
        return out


def conv_norm(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps the size, a norm of each pixel's channels, and SiLU."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, ChannelNorm(out_channels), nn.SiLU())
