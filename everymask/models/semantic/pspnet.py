"""PSPNet (Zhao et al. 2017): what is seen here, beside what is seen in the parts of the picture and in all of it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm, fcn_head, initialise, pooled_conv_norm
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import PSPNet

SIDES = (1, 2, 3, 6)


class PSPNetwork(SemanticModel):
    """Dilated encoder, pyramid pooling, one convolution, classes."""

    def __init__(self, spec: PSPNet, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.align_corners: bool = spec.align_corners
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder,
            spec.channels,
            spec.norm,
            depth=spec.depth,
            output_stride=spec.output_stride,
            pretrained=pretrained_encoder,
        )
        *_, before, last = encoder_shape(self.backbone)[0]
        bottleneck, kernel = spec.kernels
        self.pyramid: PyramidPooling = PyramidPooling(
            last, last // len(SIDES), spec.norm, align_corners=spec.align_corners
        )
        joined = last + len(SIDES) * (last // len(SIDES))
        self.bottleneck: nn.Sequential = conv_norm(joined, spec.decoder_channels, bottleneck, spec.norm, relu=True)
        self.dropout: nn.Dropout2d = nn.Dropout2d(spec.dropout)
        initialise(self.pyramid, self.bottleneck)
        self.classifier: Classifier = Classifier(spec.decoder_channels, self.num_logits, kernel, padding=kernel // 2)
        self.aux_classifier: nn.Sequential | None = (
            fcn_head(before, self.num_logits, spec.norm) if spec.auxiliary else None
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        *_, before, x = encode(self.backbone, images)
        x = self.dropout(self.bottleneck(self.pyramid(x)))
        planes = [self.classifier(x)]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(before))
        return tuple(resize(plane, images.shape[-2:], align_corners=self.align_corners) for plane in planes)


class PyramidPooling(nn.Module):
    """A map [B, C, h, w], followed by `width` channels for each of its means over 1, 2x2, 3x3 and 6x6 parts."""

    def __init__(self, channels: int, width: int, norm: Norm, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.parts: nn.ModuleList = nn.ModuleList(pooled_conv_norm(channels, width, side, norm) for side in SIDES)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        means = [resize(part(x), size, align_corners=self.align_corners) for part in self.parts]
        return torch.cat([x, *means], dim=1)
