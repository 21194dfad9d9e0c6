"""UPerNet (Xiao et al. 2018), the part that segments: pyramid pooling on top of a feature pyramid."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import ChannelNorm, Classifier, conv_norm, fcn_head, initialise
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.semantic.pspnet import SIDES, PyramidPooling
from everymask.models.specs.semantic import UPerNet


class UPerNetNetwork(SemanticModel):
    """Maps at strides 4 to 32; the coarsest is pooled in parts, each adds to the next finer, and all are fused."""

    def __init__(self, spec: UPerNet, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.align_corners: bool = spec.align_corners
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
        )
        widths, strides = encoder_shape(self.backbone)
        self.first: int = strides.index(4)
        widths = widths[self.first :]
        width, norm = spec.decoder_channels, spec.norm
        self.norms: nn.ModuleList = nn.ModuleList(
            ChannelNorm(channels) if spec.feature_norm else nn.Identity() for channels in widths
        )
        self.pyramid: PyramidPooling = PyramidPooling(widths[-1], width, norm, align_corners=False)
        self.bottleneck: nn.Sequential = conv_norm(widths[-1] + len(SIDES) * width, width, 3, norm, relu=True)
        self.laterals: nn.ModuleList = nn.ModuleList(
            conv_norm(channels, width, 1, norm, relu=True) for channels in widths[:-1]
        )
        self.smooth: nn.ModuleList = nn.ModuleList(conv_norm(width, width, 3, norm, relu=True) for _ in widths[:-1])
        self.fuse: nn.Sequential = conv_norm(len(widths) * width, width, 3, norm, relu=True)
        initialise(self.pyramid, self.bottleneck, self.laterals, self.smooth, self.fuse)
        self.classifier: Classifier = Classifier(width, self.num_logits, 1)
        self.aux_classifier: nn.Sequential | None = (
            fcn_head(widths[-2], self.num_logits, norm) if spec.auxiliary else None
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        encoded = encode(self.backbone, images)[self.first :]
        maps = [norm(plane) for norm, plane in zip(self.norms, encoded, strict=True)]
        x = self.bottleneck(self.pyramid(maps[-1]))
        levels = [x]
        for plane, lateral in zip(maps[-2::-1], reversed(self.laterals), strict=True):
            narrow = lateral(plane)
            x = resize(x, narrow.shape[-2:]) + narrow
            levels.append(x)
        smoothed = [smooth(level) for level, smooth in zip(levels[:0:-1], self.smooth, strict=True)]
        size = smoothed[0].shape[-2:]
        fused = self.fuse(torch.cat([resize(level, size) for level in (*smoothed, levels[0])], dim=1))
        planes = [self.classifier(fused)]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(encoded[-2]))
        return tuple(resize(plane, images.shape[-2:], align_corners=self.align_corners) for plane in planes)
