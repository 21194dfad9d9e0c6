"""A map repeated 2x2, then a 3x3 convolution: four ninths of the work where both are one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DoubledConv2d(nn.Module):
    """Convolves a map that is enlarged to a size, by repeating its values, and joined with another map of that size.

    Made of the convolution, whose first `channels` inputs are those that are enlarged. Where the size is exactly twice
    the map's, each result sees only 2x2 different values of it. So their weights can be summed beforehand, which makes
    a transposed convolution of 4x4 with stride 2. Only the rounding differs.
    """

    def __init__(self, conv: nn.Conv2d, channels: int) -> None:
        super().__init__()
        self.weight: Tensor = conv.weight
        self.bias: Tensor | None = conv.bias
        wide, beside = conv.weight.detach().split([channels, conv.in_channels - channels], dim=1)
        pairs = wide.new_ones(1, 1, 2, 2)
        summed = F.conv2d(wide.reshape(-1, 1, 3, 3).flip(2, 3), pairs, padding=1)
        self.enlarge: nn.ConvTranspose2d = nn.ConvTranspose2d(channels, conv.out_channels, 4, stride=2, padding=1)
        self.enlarge.weight = _fixed(summed.view(conv.out_channels, channels, 4, 4).transpose(0, 1).contiguous())
        self.enlarge.bias = None if conv.bias is None else _fixed(conv.bias.detach().clone())
        self.beside: nn.Conv2d | None = None
        if beside.shape[1]:
            self.beside = nn.Conv2d(beside.shape[1], conv.out_channels, 3, padding=1, bias=False)
            self.beside.weight = _fixed(beside.clone())

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int] | torch.Size) -> Tensor:
        if tuple(size) != (2 * x.shape[2], 2 * x.shape[3]):
            whole = fit(x, size) if skip is None else torch.cat([fit(x, size), skip], dim=1)
            return F.conv2d(whole, self.weight, self.bias, padding=1)
        enlarged: Tensor = self.enlarge(x)
        return enlarged if self.beside is None or skip is None else enlarged.add_(self.beside(skip))


def fit(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """A map at another size, each pixel from its nearest; one row or column too many is cut off."""
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="nearest")


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)
