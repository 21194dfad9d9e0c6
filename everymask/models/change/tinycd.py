"""TinyCD (Codegoni et al. 2023, "TinyCD: a (not so) deep learning model for change detection")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.change import TinyCD

_DEPTH = 3
_UP = (64, 64, 32)
_HIDDEN = (16, 8)


class TinyCDNetwork(SemanticModel):
    """Both dates go through the first three strides of one encoder; at each stride, and of the pictures themselves,
    their channels are mixed pairwise, into gates on the way up and into the map where that begins.

    Norms of single pictures (instance norm) make an answer depend on all of a picture: tiles of it give another one.
    """

    kind = ChangeMap

    def __init__(self, spec: TinyCD, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.channels: int = spec.channels
        body: Any = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, depth=_DEPTH, pretrained=pretrained_encoder
        )
        del body.blocks[_DEPTH:]  # timm keeps what comes behind the last map
        self.backbone: nn.Module = body
        *fine, coarse = encoder_shape(body)[0]
        gated = [Gate(spec.channels, (10, 5)), *(Gate(width, (width // 2, width // 4)) for width in fine)]
        self.mixing: nn.ModuleList = nn.ModuleList([*gated, Mixing(coarse)])
        self.up: nn.ModuleList = nn.ModuleList(Up(*widths) for widths in zip((coarse, *_UP[:-1]), _UP, strict=True))
        self.hidden: nn.Sequential = nn.Sequential(*_pointwise(_UP[-1], _HIDDEN))
        self.classifier: Classifier = Classifier(_HIDDEN[-1], self.num_logits, 1)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        both = torch.cat(images.split(self.channels, dim=1))
        planes = [both, *encode(self.backbone, both)]
        *gates, x = [mix(*each_date(plane)) for mix, plane in zip(self.mixing, planes, strict=True)]
        for step, gate in zip(self.up, reversed(gates), strict=True):
            x = step(x, gate)
        return (self.classifier(self.hidden(x)),)


class Mixing(nn.Module):
    """Channel k of both dates becomes channel k, by a 3x3 convolution of these two alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix: nn.Sequential = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1, groups=width), nn.PReLU(), nn.InstanceNorm2d(width)
        )

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.stack((before, after), dim=2).flatten(1, 2))
        return mixed


class Gate(Mixing):
    """What is mixed becomes one number for each pixel, [B, 1, H, W]."""

    def __init__(self, width: int, hidden: tuple[int, int]) -> None:
        super().__init__(width)
        self.gate: nn.Sequential = nn.Sequential(*_pointwise(width, (*hidden, 1)))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        gate: Tensor = self.gate(Mixing.forward(self, before, after))
        return gate


class Up(nn.Module):
    """One step up: the map at the size of the gate, times the gate, and a separable convolution."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.layers: nn.Sequential = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.PReLU(),
            nn.InstanceNorm2d(width),
            nn.Conv2d(width, out_width, 1),
            nn.PReLU(),
            nn.InstanceNorm2d(out_width),
        )

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        higher: Tensor = self.layers(resize(x, gate.shape[-2:], align_corners=True) * gate)
        return higher


def _pointwise(width: int, widths: tuple[int, ...]) -> list[nn.Sequential]:
    """1x1 convolutions, each with its PReLU."""
    pairs = zip((width, *widths[:-1]), widths, strict=True)
    return [nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.PReLU()) for inputs, outputs in pairs]
