"""Dilated convolutions of each channel by itself, for which no fast kernel exists on CPUs."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor, nn


class DilatedDepthwiseConv2d(nn.Module):
    """A depthwise 3x3 convolution with dilation, as the sum of up to nine shifted maps; for prediction.

    Shifts that lead out of the map altogether, as those of high rates on small maps, cost nothing.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.rate: int = int(conv.dilation[0])
        taps = conv.weight.detach()[:, 0].permute(1, 2, 0).contiguous()
        self.weight: nn.Parameter = nn.Parameter(taps, requires_grad=False)
        self.bias: Tensor | None = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1).contiguous()
        out = pixels * self.weight[1, 1]
        if self.bias is not None:
            out += self.bias
        height, width = pixels.shape[1:3]
        for row, down in enumerate((-self.rate, 0, self.rate)):
            for column, right in enumerate((-self.rate, 0, self.rate)):
                if (down or right) and abs(down) < height and abs(right) < width:
                    seen = pixels[:, _shifted(down, height), _shifted(right, width)]
                    out[:, _shifted(-down, height), _shifted(-right, width)].addcmul_(seen, self.weight[row, column])
        return out.permute(0, 3, 1, 2)


def is_dilated_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether `DilatedDepthwiseConv2d` can take the place of a module."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.dilation[0] == module.dilation[1] > 1
        and module.padding == module.dilation
        and module.padding_mode == "zeros"
    )


def _shifted(by: int, length: int) -> slice:
    """The part of an axis that lies within it after a shift back."""
    return slice(max(0, by), length + min(0, by))
