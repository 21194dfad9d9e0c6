"""3x3 convolutions with a quarter of the multiplications: Winograd's minimal filtering F(4x4, 3x3) (Lavin, Gray 2016).

The map is cut into tiles of 6x6 values, each of which gives 4x4 results. Where a direct convolution multiplies 9 times
for a result, here it is 36 times for 16. It pays where there are many channels, for the transformations before and
after grow with their number, the products with its square. In float32 it rounds about four times as coarsely as the
direct sum: 3e-5 for results of size 1.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_CHANNELS, _MOST_CHANNELS = 128, 256
_LARGEST_EXCESS = 1.3
_BYTES_AT_ONCE, _MOST_BYTES = 1 << 23, 1 << 25
_INPUTS_AT_ONCE = 32

# The transformations of tiles, kernels and results, for the points 0, 1, -1, 2, -2 and infinity.
_TILE = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
         (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))  # fmt: skip
_KERNEL = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # times 1/24
_RESULT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_CONSTANT = 7  # where a constant in the transformed frame adds itself to all sixteen results


def pays(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether `WinogradConv2d` can take the place of a module and is faster on most maps."""
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.padding == conv.dilation
        and conv.dilation[0] == conv.dilation[1]
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= _LEAST_CHANNELS
        and max(conv.in_channels, conv.out_channels) >= _MOST_CHANNELS
    )


class WinogradConv2d(nn.Module):
    """A convolution for which `pays` holds, for prediction in float32 on CPUs.

    Maps [B, C, h, w] of any size; results lie channels last. Beside the map and the result it needs up to 100 MB, and
    weights of four times the kernel's size. Maps that tiles would fill with too many zeros, as small ones do and larger
    ones at high dilation, and those of which one row of tiles is too large to be fast are convolved directly.
    """

    tile: Tensor
    result: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.direct = conv
        self.dilation: int = int(conv.dilation[0])
        kernel = torch.tensor(_KERNEL, dtype=torch.float64) / 24
        both = torch.kron(kernel, kernel)
        given = conv.weight.detach()
        weight = given.new_empty(len(both), conv.in_channels, conv.out_channels)
        # The results of some inputs at a time, for they are calculated in float64.
        for into, part in zip(weight.split(_INPUTS_AT_ONCE, 1), given.split(_INPUTS_AT_ONCE, 1), strict=True):
            values = part.permute(2, 3, 1, 0).to(torch.float64, memory_format=torch.contiguous_format)
            into.copy_(torch.mm(both, values.view(both.shape[1], -1)).view_as(into))
        self.weight: nn.Parameter = nn.Parameter(weight, requires_grad=False)
        for name, matrix in (("tile", _TILE), ("result", _RESULT)):
            rows = torch.tensor(matrix, dtype=conv.weight.dtype)
            self.register_buffer(name, torch.kron(rows, rows))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        step = 4 * self.dilation
        tall, wide = -(-height // step), -(-width // step)
        margin, results = self.dilation, self.weight.shape[2]
        across = batch * wide * margin * margin
        row_bytes = 36 * across * max(channels, results) * x.element_size()
        if tall * wide * step * step > _LARGEST_EXCESS * height * width or row_bytes > _MOST_BYTES:
            direct: Tensor = self.direct(x)
            return direct
        padded = F.pad(
            x.permute(0, 2, 3, 1),
            (0, 0, margin, wide * step - width + margin, margin, tall * step - height + margin),
        )
        out = x.new_empty(batch, tall, 4, margin, wide, 4, margin, results)
        at_once = max(1, _BYTES_AT_ONCE // max(1, row_bytes))
        for first in range(0, tall, at_once):
            rows = min(at_once, tall - first)
            tiles = self._tiles(padded, first, rows, wide).reshape(36, -1)
            products = torch.bmm(torch.mm(self.tile, tiles).view(36, rows * across, channels), self.weight)
            if self.direct.bias is not None:
                products[_CONSTANT] += self.direct.bias
            values = torch.mm(self.result, products.view(36, -1)).view(4, 4, batch, rows, margin, wide, margin, results)
            out[:, first : first + rows] = values.permute(2, 3, 0, 4, 5, 1, 6, 7)
        whole = out.view(batch, tall * step, wide * step, results)
        return whole[:, :height, :width].permute(0, 3, 1, 2)

    def _tiles(self, padded: Tensor, first: int, rows: int, wide: int) -> Tensor:
        """The 6x6 values of each tile, as [6, 6, B, rows, dilation, wide, dilation, C], without a copy."""
        sample, row, column, channel = padded.stride()
        d = self.dilation
        return padded.as_strided(
            (6, 6, len(padded), rows, d, wide, d, padded.shape[3]),
            (d * row, d * column, sample, 4 * d * row, row, 4 * d * column, column, channel),
            padded.storage_offset() + first * 4 * d * row,
        )
