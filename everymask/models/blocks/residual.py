"""The two residual blocks (He et al. 2016) of networks that are no encoders of timm.

Untrained they add nothing to what came in (Goyal et al. 2017), so that a deep network keeps its scale.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.layers import PooledBatchNorm


class BasicBlock(nn.Module):
    """Two 3x3 convolutions [B, inputs, H, W] -> [B, width, H / stride, W / stride] and what came in."""

    def __init__(self, inputs: int, width: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv1: nn.Conv2d = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1: PooledBatchNorm = PooledBatchNorm(width)
        self.conv2: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2: PooledBatchNorm = PooledBatchNorm(width)
        nn.init.zeros_(self.bn2.weight)
        self.downsample: nn.Sequential | None = shortcut(inputs, width, stride)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out)) + (x if self.downsample is None else self.downsample(x))
        return F.relu(out) if self.relu else out


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones; the result has `expansion` times `width` channels."""

    def __init__(self, inputs: int, width: int, *, expansion: int, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        outputs = expansion * width
        self.conv1: nn.Conv2d = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1: PooledBatchNorm = PooledBatchNorm(width)
        self.conv2: nn.Conv2d = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2: PooledBatchNorm = PooledBatchNorm(width)
        self.conv3: nn.Conv2d = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3: PooledBatchNorm = PooledBatchNorm(outputs)
        nn.init.zeros_(self.bn3.weight)
        self.downsample: nn.Sequential | None = shortcut(inputs, outputs, stride)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out)) + (x if self.downsample is None else self.downsample(x))
        return F.relu(out) if self.relu else out


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings a block's input to the shape of its result; None where it has it."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), PooledBatchNorm(outputs))
