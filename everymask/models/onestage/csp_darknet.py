"""CSPDarknet (Bochkovskiy et al. 2020; Wang et al. 2020) as YOLOX has it, parameters named as there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from everymask.models.onestage.layers import ConvNorm, SeparableConv, with_maxima
from everymask.models.specs.onestage import DarknetName

_WIDTH, _DEPTH = 64, 3


@dataclass(frozen=True, slots=True)
class Size:
    """What a size of the network is: factors of depth and width, and whether its larger convolutions are separable."""

    depth: float
    width: float
    separable: bool = False

    @property
    def blocks(self) -> int:
        """Of the shortest stages; the long ones have three times as many."""
        return max(round(_DEPTH * self.depth), 1)

    def channels(self, level: int) -> int:
        """Of the stem (level 0), and twice as many with each stage."""
        return int(_WIDTH * self.width) << level

    def convolution(self, in_channels: int, out_channels: int, stride: int = 1) -> nn.Module:
        """A 3x3 convolution of this size."""
        kind = SeparableConv if self.separable else ConvNorm
        return kind(in_channels, out_channels, 3, stride)


SIZES: dict[DarknetName, Size] = {
    "csp_darknet_nano": Size(0.33, 0.25, separable=True),
    "csp_darknet_tiny": Size(0.33, 0.375),
    "csp_darknet_s": Size(0.33, 0.5),
    "csp_darknet_m": Size(0.67, 0.75),
    "csp_darknet_l": Size(1.0, 1.0),
    "csp_darknet_x": Size(1.33, 1.25),
}


class CSPDarknet(nn.Module):
    """Pictures [B, C, H, W], H and W even, to maps at strides 8, 16 and 32."""

    stages: tuple[tuple[str, ...], ...] = (("stem",), ("dark2",), ("dark3",), ("dark4",))

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        self.stem: Focus = Focus(channels, size.channels(0))
        self.dark2: nn.Sequential = _stage(size, 1, size.blocks)
        self.dark3: nn.Sequential = _stage(size, 2, 3 * size.blocks)
        self.dark4: nn.Sequential = _stage(size, 3, 3 * size.blocks)
        self.dark5: nn.Sequential = nn.Sequential(
            size.convolution(size.channels(3), size.channels(4), 2),
            PooledPyramid(size.channels(4)),
            CrossStage(size, size.channels(4), size.channels(4), size.blocks, residual=False),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images)
        # What follows may calculate in bfloat16.
        fine = self.dark3(self.dark2(x.to(next(self.dark2.parameters()).dtype)))
        middle = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class Focus(nn.Module):
    """Every second pixel of every second row: four small pictures side by side, and a convolution of them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv: ConvNorm = ConvNorm(4 * in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        out: Tensor = self.conv(torch.cat(parts, dim=1))
        return out


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution, whose sum with the input is given where it is `residual`."""

    def __init__(self, size: Size, channels: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1: ConvNorm = ConvNorm(channels, channels, 1)
        self.conv2: nn.Module = size.convolution(channels, channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.residual else out


class CrossStage(nn.Module):
    """Half of the channels pass the blocks, the other half pass by (Wang et al. 2020, CSPNet)."""

    def __init__(self, size: Size, in_channels: int, out_channels: int, blocks: int, *, residual: bool) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.conv1: ConvNorm = ConvNorm(in_channels, hidden, 1)
        self.conv2: ConvNorm = ConvNorm(in_channels, hidden, 1)
        self.conv3: ConvNorm = ConvNorm(2 * hidden, out_channels, 1)
        self.m: nn.Sequential = nn.Sequential(*(Bottleneck(size, hidden, residual=residual) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        passed, by = self.conv1(x), self.conv2(x)
        out: Tensor = self.conv3(torch.cat([self.m(passed), by], dim=1))
        return out


class PooledPyramid(nn.Module):
    """Maxima over squares of three sizes beside the map itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1: ConvNorm = ConvNorm(channels, channels // 2, 1)
        self.conv2: ConvNorm = ConvNorm(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(with_maxima(self.conv1(x)))
        return out


def _stage(size: Size, level: int, blocks: int) -> nn.Sequential:
    channels = size.channels(level)
    return nn.Sequential(
        size.convolution(size.channels(level - 1), channels, 2),
        CrossStage(size, channels, channels, blocks, residual=True),
    )
