"""FCN (Long et al. 2015) on a dilated encoder, as torchvision has it: classes straight from the last map."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm, fcn_head, initialise
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.semantic import FCN


class FCNNetwork(SemanticModel):
    """Dilated encoder, one convolution, classes. Parameters named as in torchvision."""

    def __init__(self, spec: FCN, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, output_stride=spec.output_stride, pretrained=pretrained_encoder
        )
        *_, before, last = encoder_shape(self.backbone)[0]
        self.align_corners: bool = spec.align_corners
        self.classifier: nn.Module = fcn_head(last, self.num_logits, spec.norm)
        if spec.convs > 1 or spec.joins_input or spec.decoder_channels:
            self.classifier = DeepHead(spec, last, self.num_logits)
        self.aux_classifier: nn.Sequential | None = (
            fcn_head(before, self.num_logits, spec.norm) if spec.auxiliary else None
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        *_, before, x = encode(self.backbone, images)
        planes = [self.classifier(x)]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(before))
        return tuple(resize(plane, images.shape[-2:], align_corners=self.align_corners) for plane in planes)


class DeepHead(nn.Module):
    """Several convolutions, and perhaps one that sees their result beside the map, as mmsegmentation's `FCNHead`."""

    def __init__(self, spec: FCN, channels: int, num_logits: int) -> None:
        super().__init__()
        width = spec.decoder_channels or channels // 4
        inputs = (channels, *[width] * (spec.convs - 1))
        self.convs: nn.Sequential = nn.Sequential(
            *(conv_norm(before, width, 3, spec.norm, relu=True) for before in inputs)
        )
        self.join: nn.Sequential | None = (
            conv_norm(channels + width, width, 3, spec.norm, relu=True) if spec.joins_input else None
        )
        self.dropout: nn.Dropout2d = nn.Dropout2d(0.1)
        initialise(self)
        self.classifier: Classifier = Classifier(width, num_logits, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.convs(x)
        if self.join is not None:
            out = self.join(torch.cat([x, out], dim=1))
        logits: Tensor = self.classifier(self.dropout(out))
        return logits
