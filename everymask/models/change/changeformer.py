"""ChangeFormer (Bandara and Patel 2022, "A transformer-based Siamese network for change detection")."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape, set_norm
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.change import ChangeFormer


class ChangeFormerNetwork(SemanticModel):
    """A Mix Transformer sees both dates; at each of its four strides convolutions of both maps say how they differ.

    Coarser differences are added to finer ones. All four are joined at stride 4 and enlarged twice, each time with a
    residual block.
    """

    kind = ChangeMap

    def __init__(self, spec: ChangeFormer, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.channels: int = spec.channels
        width = spec.decoder_channels
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
        )
        widths = encoder_shape(self.backbone)[0]
        self.narrow: nn.ModuleList = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in widths)
        self.differences: nn.ModuleList = nn.ModuleList(difference(width) for _ in widths)
        self.join: nn.Sequential = conv_norm(len(widths) * width, width, 1, "batch")
        self.enlarge: nn.ModuleList = nn.ModuleList(Enlarging(width) for _ in range(2))
        initialise(self.narrow, self.differences, self.join, self.enlarge)
        self.classifier: Classifier = Classifier(width, self.num_logits, 3, padding=1)
        if spec.norm == "group":
            set_norm(self, spec.norm)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = encode(self.backbone, torch.cat(images.split(self.channels, dim=1)))
        found: list[Tensor] = []
        for plane, narrow, apart in reversed(list(zip(maps, self.narrow, self.differences, strict=True))):
            told = apart(torch.cat(each_date(narrow(plane)), dim=1))
            found.append(told + resize(found[-1], told.shape[-2:]) if found else told)
        x = self.join(torch.cat([resize(told, maps[0].shape[-2:]) for told in found], dim=1))
        for step in self.enlarge:
            x = step(x)
        return (self.classifier(resize(x, images.shape[-2:])),)


def difference(width: int) -> nn.Sequential:
    """How two maps differ that lie side by side: [B, 2 C, h, w] to [B, C, h, w]."""
    return nn.Sequential(
        nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip


class Enlarging(nn.Module):
    """Twice the size by a transposed convolution, then two 3x3 convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up: nn.ConvTranspose2d = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.conv1: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1)
        self.conv2: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = self.up(x)
        return larger + 0.1 * self.conv2(F.relu(self.conv1(larger)))
