"""FC-EF, FC-Siam-conc and FC-Siam-diff (Daudt et al. 2018, "Fully convolutional Siamese networks for change
detection").
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier, initialise
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import set_norm
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.change import FCSiam

_DEEP = 3
"""From this level on there are three convolutions, above it two."""


class FCSiamNetwork(SemanticModel):
    """A small U-Net whose encoder sees both dates, apart or as one picture; the lowest map is of the later one.

    Pictures of any size are taken: where a map has an odd side, its last row or column is repeated on the way up.
    """

    kind = ChangeMap

    def __init__(self, spec: FCSiam, num_classes: int) -> None:
        super().__init__(spec, num_classes)
        widths, early = spec.widths, spec.fusion == "early"
        self.channels: int = spec.channels
        self.fusion = spec.fusion
        self.backbone: Contracting = Contracting(spec, 2 * spec.channels if early else spec.channels)
        joined = 3 if spec.fusion == "concat" else 2
        steps = zip(reversed(widths), (*reversed(widths[:-1]), widths[0]), strict=True)
        self.decoder: nn.ModuleList = nn.ModuleList(
            Expanding(width, joined * width, out_width, spec, level)
            for level, (width, out_width) in zip(range(len(widths), 0, -1), steps, strict=True)
        )
        initialise(self.backbone, self.decoder)
        self.classifier: Classifier = Classifier(widths[0], self.num_logits, 3, padding=1)
        set_norm(self if spec.norm == "group" else self.backbone, spec.norm)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        dates = [images] if self.fusion == "early" else images.split(self.channels, dim=1)
        maps = [each_date(plane, len(dates)) for plane in self.backbone(torch.cat(dates))]
        x = F.max_pool2d(maps[-1][-1], 2, ceil_mode=True)
        for step, planes in zip(self.decoder, reversed(maps), strict=True):
            x = step(x, ((planes[1] - planes[0]).abs(),) if self.fusion == "difference" else planes)
        return (self.classifier(x),)


class Contracting(nn.Module):
    """Two or three convolutions a level; the map of each, before it is halved for the next."""

    stages: tuple[tuple[str, ...], ...] = (("levels.0",), ("levels.1",), ("levels.2",), ("levels.3",))

    def __init__(self, spec: FCSiam, channels: int) -> None:
        super().__init__()
        self.levels: nn.ModuleList = nn.ModuleList(
            nn.Sequential(*(_layer(width if part else inputs, width, spec) for part in range(_count(level))))
            for level, (inputs, width) in enumerate(zip((channels, *spec.widths[:-1]), spec.widths, strict=True), 1)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2, ceil_mode=True) if maps else x)
            maps.append(x)
        return maps


class Expanding(nn.Module):
    """One step up: the map enlarged, joined with the encoder's, and convolutions, the last one narrower."""

    def __init__(self, width: int, joined: int, out_width: int, spec: FCSiam, level: int) -> None:
        super().__init__()
        self.enlarge: nn.ConvTranspose2d = nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)
        count = _count(level) - (level == 1)  # the last one of all is the classifier
        widths = [joined, *[width] * (count - 1), out_width]
        self.layers: nn.Sequential = nn.Sequential(*(_layer(*pair, spec) for pair in pairwise(widths)))

    def forward(self, x: Tensor, planes: tuple[Tensor, ...]) -> Tensor:
        height, width = planes[0].shape[-2:]
        x = self.enlarge(x)
        x = F.pad(x, (0, max(0, width - x.shape[3]), 0, max(0, height - x.shape[2])), mode="replicate")
        higher: Tensor = self.layers(torch.cat([x[..., :height, :width], *planes], dim=1))
        return higher


def _count(level: int) -> int:
    return 3 if level >= _DEEP else 2


def _layer(inputs: int, outputs: int, spec: FCSiam) -> nn.Sequential:
    """A 3x3 convolution, its norm and ReLU, and dropout of whole channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
        nn.Dropout2d(spec.dropout),
    )  # fmt: skip
