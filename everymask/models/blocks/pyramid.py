"""Feature pyramid network (Lin et al. 2017, "Feature pyramid networks for object detection")."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.encoders import encoder_channels
from everymask.models.blocks.layers import conv_norm
from everymask.models.specs.regions import Norm


class FeaturePyramid(nn.Module):
    """Top-down pathway with lateral connections; parameters are named as in torchvision.

    From C2-C5 come P2-P5 at strides 4-32, each with `out_channels` channels, and P6 at stride 64, which is P5 at every
    second pixel. From fewer maps come as many, and one more. With `bottom_up` the maps then go up again, each half as
    large and joined by the next (Liu et al. 2018, "Path aggregation network").
    """

    def __init__(
        self, in_channels: tuple[int, ...], out_channels: int, norm: Norm | None, *, bottom_up: bool = False
    ) -> None:
        super().__init__()
        self.inner_blocks: nn.ModuleList = nn.ModuleList(
            conv_norm(channels, out_channels, 1, norm) for channels in in_channels
        )
        self.layer_blocks: nn.ModuleList = nn.ModuleList(
            conv_norm(out_channels, out_channels, 3, norm) for _ in in_channels
        )
        again = len(in_channels) - 1 if bottom_up else 0
        self.down_blocks: nn.ModuleList = nn.ModuleList(_halving(out_channels, norm) for _ in range(again))
        self.up_blocks: nn.ModuleList = nn.ModuleList(
            conv_norm(out_channels, out_channels, 3, norm) for _ in range(again)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        laterals = [block(x) for block, x in zip(self.inner_blocks, maps, strict=True)]
        for level in range(len(laterals) - 2, -1, -1):
            above = F.interpolate(laterals[level + 1], size=laterals[level].shape[-2:], mode="nearest")
            laterals[level] = laterals[level] + above
        pyramid = [block(x) for block, x in zip(self.layer_blocks, laterals, strict=True)]
        for level, halve in enumerate(self.down_blocks):
            pyramid[level + 1] = pyramid[level + 1] + halve(pyramid[level])
        for level, block in enumerate(self.up_blocks, start=1):
            pyramid[level] = block(pyramid[level])
        return [*pyramid, F.max_pool2d(pyramid[-1], kernel_size=1, stride=2)]


def _halving(channels: int, norm: Norm | None) -> nn.Sequential:
    """A 3x3 convolution at every second pixel. Members: 0 convolution, 1 norm."""
    block = conv_norm(channels, channels, 3, norm)
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    convolution.stride = (2, 2)
    return block


class PyramidBackbone(nn.Module):
    """Encoder and pyramid: pictures [B, C, H, W] to the maps of the pyramid, finest first.

    With `frozen` the encoder's batch norms are fixed: their statistics never move, whatever `train()` says.
    """

    def __init__(
        self, body: nn.Module, channels: int, norm: Norm | None, *, frozen: bool, bottom_up: bool = False
    ) -> None:
        super().__init__()
        self.body = body
        self.fpn: FeaturePyramid = FeaturePyramid(encoder_channels(body), channels, norm, bottom_up=bottom_up)
        self.frozen = frozen
        if frozen:
            for module in self._encoder_norms():
                module.requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        """What pictures must be for this network."""
        return next(self.parameters()).dtype

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.fpn(self.body(images))
        return maps

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            for module in self._encoder_norms():
                module.eval()
        return self

    def _encoder_norms(self) -> list[nn.Module]:
        return [module for module in self.body.modules() if isinstance(module, nn.BatchNorm2d)]
