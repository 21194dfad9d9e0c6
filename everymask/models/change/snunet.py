"""SNUNet (Fang et al. 2022, "SNUNet-CD: a densely connected Siamese network for change detection of VHR images")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier, initialise
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import set_norm
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.change import SNUNet

_LEVELS = 5
_REDUCTION, _REDUCTION_WITHIN = 16, 4


class SNUNetNetwork(SemanticModel):
    """U-Net++ whose skips begin with the maps of both dates: nodes X(i, j) as in the paper's figure.

    X(i, j) joins both maps of level i, all nodes before it there, and X(i+1, j-1) enlarged, at first the later date's
    map. The nodes of the finest level are weighted channel by channel (ECAM) and classified.
    """

    kind = ChangeMap

    def __init__(self, spec: SNUNet, num_classes: int) -> None:
        super().__init__(spec, num_classes)
        self.channels: int = spec.channels
        widths = [spec.width * 2**level for level in range(_LEVELS)]
        self.backbone: Contracting = Contracting(spec.channels, widths)
        self.nodes: nn.ModuleDict = nn.ModuleDict()
        self.enlarge: nn.ModuleDict = nn.ModuleDict()
        for j in range(1, _LEVELS):
            for i in range(_LEVELS - j):
                self.enlarge[f"{i}_{j}"] = nn.ConvTranspose2d(widths[i + 1], widths[i + 1], 2, stride=2)
                self.nodes[f"{i}_{j}"] = Block((1 + j) * widths[i] + widths[i + 1], widths[i])
        finest = (_LEVELS - 1) * spec.width
        self.within: ChannelAttention = ChannelAttention(spec.width, _REDUCTION_WITHIN)
        self.among: ChannelAttention = ChannelAttention(finest, _REDUCTION)
        initialise(self)
        self.classifier: Classifier = Classifier(finest, self.num_logits, 1)
        set_norm(self if spec.norm == "group" else self.backbone, spec.norm)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = [each_date(plane) for plane in self.backbone(torch.cat(images.split(self.channels, dim=1)))]
        rows = [list(pair) for pair in maps]
        for j in range(1, _LEVELS):
            for i in range(_LEVELS - j):
                below = self.enlarge[f"{i}_{j}"](rows[i + 1][j])
                below = resize(below, rows[i][0].shape[-2:])
                rows[i].append(self.nodes[f"{i}_{j}"](torch.cat([*rows[i], below], dim=1)))
        ends = rows[0][2:]
        together = torch.cat(ends, dim=1)
        own = self.within(torch.stack(ends).sum(dim=0)).repeat(1, len(ends), 1, 1)
        return (self.classifier(self.among(together) * (together + own)),)


class Contracting(nn.Module):
    """A block a level; the map of each, before it is halved for the next."""

    stages: tuple[tuple[str, ...], ...] = (("levels.0",), ("levels.1",), ("levels.2",), ("levels.3",))

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        self.levels: nn.ModuleList = nn.ModuleList(
            Block(*pair) for pair in zip((channels, *widths[:-1]), widths, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2, ceil_mode=True) if maps else x)
            maps.append(x)
        return maps


class Block(nn.Module):
    """Two 3x3 convolutions, the first of which is added to what the second gives."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        # Before its convolution, with which it must not be merged: what that gives is needed without the norm too.
        self.norm1: nn.BatchNorm2d = nn.BatchNorm2d(width)
        self.conv1: nn.Conv2d = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv2: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1)
        self.norm2: nn.BatchNorm2d = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        second = self.norm2(self.conv2(F.relu(self.norm1(first))))
        return F.relu(first + second)


class ChannelAttention(nn.Module):
    """How much each channel counts, [B, C, 1, 1] in 0-1, by its mean and its largest value (Woo et al. 2018)."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.layers: nn.Sequential = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False), nn.ReLU(inplace=True), nn.Conv2d(hidden, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        mean, largest = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return (self.layers(mean) + self.layers(largest)).sigmoid()
