"""HRNet's trunk (Sun et al. 2019): branches at strides 4 to 32 side by side, which exchange what they see.

Parameters are named as in the authors' code, and so as in timm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.encoders import HRNET_STAGES
from everymask.models.blocks.layers import PooledBatchNorm
from everymask.models.blocks.residual import BasicBlock, Bottleneck

Enlarge: TypeAlias = Callable[[Tensor, tuple[int, int]], Tensor]
WIDTHS = {"hrnet_w18": 18, "hrnet_w32": 32, "hrnet_w48": 48}
_BLOCKS = 4
_EXCHANGES = (1, 4, 3)


class HRNetTrunk(nn.Module):
    """Pictures [B, C, H, W] to four maps at strides 4, 8, 16 and 32, of 1, 2, 4 and 8 times the network's width.

    `enlarge` (maps, size) brings the map of a coarser branch to the size of a finer one.
    """

    stages = HRNET_STAGES

    def __init__(self, name: str, channels: int, enlarge: Enlarge) -> None:
        super().__init__()
        self.widths: tuple[int, ...] = tuple(WIDTHS[name] * 2**branch for branch in range(4))
        self.conv1: nn.Conv2d = nn.Conv2d(channels, 64, 3, stride=2, padding=1, bias=False)
        self.bn1: PooledBatchNorm = PooledBatchNorm(64)
        self.conv2: nn.Conv2d = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2: PooledBatchNorm = PooledBatchNorm(64)
        self.layer1: nn.Sequential = nn.Sequential(
            Bottleneck(64, 64, expansion=4), *(Bottleneck(256, 64, expansion=4) for _ in range(_BLOCKS - 1))
        )
        self.transition1: nn.ModuleList = nn.ModuleList(
            [_strided(256, self.widths[0], 1), nn.Sequential(_strided(256, self.widths[1], 2))]
        )
        self.stage2: nn.Sequential = _exchanges(self.widths[:2], _EXCHANGES[0], enlarge)
        self.transition2: nn.ModuleList = _new_branch(self.widths[:3])
        self.stage3: nn.Sequential = _exchanges(self.widths[:3], _EXCHANGES[1], enlarge)
        self.transition3: nn.ModuleList = _new_branch(self.widths)
        self.stage4: nn.Sequential = _exchanges(self.widths, _EXCHANGES[2], enlarge)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.relu(self.bn1(self.conv1(images)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        maps = self.stage2([transition(x) for transition in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        coarsest: list[Tensor] = self.stage4([*maps, self.transition3[-1](maps[-1])])
        return coarsest


class Exchange(nn.Module):
    """Each branch thinks on its own; then each gets the sum of all, brought to its size and width."""

    def __init__(self, widths: tuple[int, ...], enlarge: Enlarge) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.branches: nn.ModuleList = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width) for _ in range(_BLOCKS))) for width in widths
        )
        self.fuse_layers: nn.ModuleList = nn.ModuleList(
            nn.ModuleList(_between(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for target, own in enumerate(maps):
            size = (own.shape[-2], own.shape[-1])
            total = own
            layers = cast(nn.ModuleList, self.fuse_layers[target])
            for source, (layer, x) in enumerate(zip(layers, maps, strict=True)):
                if source != target:
                    part = layer(x)
                    total = total + (self.enlarge(part, size) if source > target else part)
            fused.append(F.relu(total))
        return fused


def _exchanges(widths: tuple[int, ...], count: int, enlarge: Enlarge) -> nn.Sequential:
    return nn.Sequential(*(Exchange(widths, enlarge) for _ in range(count)))


def _between(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
    """From one branch to another: a 1x1 convolution to a finer one, steps of stride 2 to a coarser one."""
    if source == target:
        return nn.Identity()
    norm = PooledBatchNorm(widths[target])
    # So that untrained the sum has about the scale of its parts.
    nn.init.constant_(norm.weight, 1 / len(widths))
    if source > target:
        return nn.Sequential(nn.Conv2d(widths[source], widths[target], 1, bias=False), norm)
    steps = [_strided(widths[source], widths[source], 2) for _ in range(target - source - 1)]
    last = nn.Sequential(nn.Conv2d(widths[source], widths[target], 3, stride=2, padding=1, bias=False), norm)
    return nn.Sequential(*steps, last)


def _new_branch(widths: tuple[int, ...]) -> nn.ModuleList:
    """The branches so far go on as they are, and one more begins at the coarsest of them."""
    return nn.ModuleList([*(nn.Identity() for _ in widths[:-1]), nn.Sequential(_strided(widths[-2], widths[-1], 2))])


def _strided(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, PooledBatchNorm(outputs), nn.ReLU(inplace=True))
