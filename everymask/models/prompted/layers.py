"""Blocks that the parts of prompted networks share."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map [B, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers of these widths with an activation between them."""

    def __init__(self, *widths: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers: nn.ModuleList = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.activation: nn.Module = activation()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def neck(in_channels: int, out_channels: int) -> nn.Sequential:
    """From a transformer's width to that of the embedding."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


def to_windows(x: Tensor, side: int) -> Tensor:
    """A map [B, H, W, C], with zeros at right and bottom up to a multiple of `side`, as [B * windows, side, side, C].

    `from_windows` leads back.
    """
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    return x.view(batch, rows, side, columns, side, channels).transpose(2, 3).reshape(-1, side, side, channels)


def from_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """The map [B, H, W, C] of `size` (H, W) from its windows, without the zeros that filled the last ones."""
    (height, width), side = size, windows.shape[1]
    rows, columns = -(-height // side), -(-width // side)
    x = windows.view(-1, rows, columns, side, side, windows.shape[-1]).transpose(2, 3)
    return x.reshape(-1, rows * side, columns * side, windows.shape[-1])[:, :height, :width]
