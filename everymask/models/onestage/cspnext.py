"""CSPNeXt (Lyu et al. 2022, RTMDet) and its pyramid, parameters named as in mmdetection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.onestage.layers import ConvNorm, with_maxima
from everymask.models.specs.onestage import CSPNeXtName

_BLOCKS = (3, 6, 6, 3)
conv_norm = partial(ConvNorm, eps=1e-5, momentum=0.1)


@dataclass(frozen=True, slots=True)
class Size:
    """What a size of the network is: factors of depth and width, and the blocks of each layer of the pyramid."""

    depth: float
    width: float
    pyramid_blocks: int

    def channels(self, level: int) -> int:
        """Of the stem (level 0), and twice as many with each stage."""
        return int((64 << level) * self.width)

    def blocks(self, stage: int) -> int:
        """Of stage 1 to 4."""
        return max(round(_BLOCKS[stage - 1] * self.depth), 1)


SIZES: dict[CSPNeXtName, Size] = {
    "cspnext_tiny": Size(0.167, 0.375, 1),
    "cspnext_s": Size(0.33, 0.5, 1),
    "cspnext_m": Size(0.67, 0.75, 2),
    "cspnext_l": Size(1.0, 1.0, 3),
    "cspnext_x": Size(1.33, 1.25, 4),
}


class CSPNeXt(nn.Module):
    """Pictures [B, C, H, W] to maps at strides 8, 16 and 32."""

    stages: tuple[tuple[str, ...], ...] = (("stem",), ("stage1",), ("stage2",), ("stage3",))

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        width = size.channels(0)
        self.stem: nn.Sequential = nn.Sequential(
            conv_norm(channels, width // 2, 3, 2), conv_norm(width // 2, width // 2, 3), conv_norm(width // 2, width, 3)
        )
        self.stage1: nn.Sequential = self._stage(size, 1)
        self.stage2: nn.Sequential = self._stage(size, 2)
        self.stage3: nn.Sequential = self._stage(size, 3)
        self.stage4: nn.Sequential = self._stage(size, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.stage2(self.stage1(self.stem(images)))
        middle = self.stage3(fine)
        return fine, middle, self.stage4(middle)

    @staticmethod
    def _stage(size: Size, stage: int) -> nn.Sequential:
        channels, last = size.channels(stage), stage == len(_BLOCKS)
        down = conv_norm(size.channels(stage - 1), channels, 3, 2)
        blocks = CrossStage(channels, channels, size.blocks(stage), residual=not last, attends=True)
        return nn.Sequential(down, PooledPyramid(channels), blocks) if last else nn.Sequential(down, blocks)


class CSPNeXtPyramid(nn.Module):
    """Maps that have seen each other, from coarse to fine and back, all with so many channels as the finest."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        fine, middle, coarse = (size.channels(level) for level in (2, 3, 4))
        layer = partial(CrossStage, blocks=size.pyramid_blocks, residual=False, attends=False)
        self.reduce_layers: nn.ModuleList = nn.ModuleList([conv_norm(coarse, middle, 1), conv_norm(middle, fine, 1)])
        self.top_down_blocks: nn.ModuleList = nn.ModuleList([layer(2 * middle, middle), layer(2 * fine, fine)])
        self.downsamples: nn.ModuleList = nn.ModuleList([conv_norm(fine, fine, 3, 2), conv_norm(middle, middle, 3, 2)])
        self.bottom_up_blocks: nn.ModuleList = nn.ModuleList([layer(2 * fine, middle), layer(2 * middle, coarse)])
        self.out_convs: nn.ModuleList = nn.ModuleList(
            conv_norm(channels, fine, 3) for channels in (fine, middle, coarse)
        )

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps
        top = self.reduce_layers[0](coarse)
        side = self.reduce_layers[1](self.top_down_blocks[0](torch.cat([_twice(top), middle], dim=1)))
        first = self.top_down_blocks[1](torch.cat([_twice(side), fine], dim=1))
        second = self.bottom_up_blocks[0](torch.cat([self.downsamples[0](first), side], dim=1))
        third = self.bottom_up_blocks[1](torch.cat([self.downsamples[1](second), top], dim=1))
        return [layer(x) for layer, x in zip(self.out_convs, (first, second, third), strict=True)]


class CrossStage(nn.Module):
    """Half of the channels pass the blocks, the other half pass by; then channels are weighed where it `attends`."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, residual: bool, attends: bool) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.main_conv: ConvNorm = conv_norm(in_channels, hidden, 1)
        self.short_conv: ConvNorm = conv_norm(in_channels, hidden, 1)
        self.final_conv: ConvNorm = conv_norm(2 * hidden, out_channels, 1)
        self.blocks: nn.Sequential = nn.Sequential(*(Block(hidden, residual=residual) for _ in range(blocks)))
        self.attention: ChannelAttention | nn.Identity = ChannelAttention(2 * hidden) if attends else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        out: Tensor = self.final_conv(self.attention(joined))
        return out


class Block(nn.Module):
    """A 3x3 convolution, then a separable one of 5x5; with its input added where it is `residual`."""

    def __init__(self, channels: int, *, residual: bool) -> None:
        super().__init__()
        self.conv1: ConvNorm = conv_norm(channels, channels, 3)
        self.conv2: LargeSeparable = LargeSeparable(channels)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.residual else out


class LargeSeparable(nn.Module):
    """A 5x5 convolution channel by channel, then one of single pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv: ConvNorm = conv_norm(channels, channels, 5, groups=channels)
        self.pointwise_conv: ConvNorm = conv_norm(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return out


class ChannelAttention(nn.Module):
    """Each channel times a share that the means of all of them decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc: nn.Conv2d = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))


class PooledPyramid(nn.Module):
    """Maxima over squares of three sizes beside the map itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1: ConvNorm = conv_norm(channels, channels // 2, 1)
        self.conv2: ConvNorm = conv_norm(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(with_maxima(self.conv1(x)))
        return out


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
