"""SegFormer (Xie et al. 2021): a Mix Transformer and a decoder without windows; named as in the paper's own code."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import SegFormer


class SegFormerNetwork(SemanticModel):
    """The four maps at strides 4 to 32, each through a linear layer; fused at stride 4."""

    def __init__(self, spec: SegFormer, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.align_corners: bool = spec.align_corners
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
        )
        widths, strides = encoder_shape(self.backbone)
        self.first: int = strides.index(4)
        normed = spec.decoder == "mmsegmentation"
        self.decode_head: LinearDecoder = LinearDecoder(
            widths[self.first :], spec.decoder_channels, self.num_logits, spec.norm, spec.dropout, normed=normed
        )
        for module in self.backbone.modules() if normed else ():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-6

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        coarse = self.decode_head(encode(self.backbone, images)[self.first :])
        return (resize(coarse, images.shape[-2:], align_corners=self.align_corners),)


class LinearDecoder(nn.Module):
    """Linear layers on four maps, all resized to the finest, joined by a 1x1 convolution, classes.

    If they are `normed`, each of the layers is followed by norm and ReLU.
    """

    def __init__(
        self, widths: tuple[int, ...], width: int, num_logits: int, norm: Norm, dropout: float, *, normed: bool = False
    ) -> None:
        super().__init__()
        for level, channels in enumerate(widths, start=1):
            layer = conv_norm(channels, width, 1, norm, relu=True) if normed else LinearLayer(channels, width)
            setattr(self, f"linear_c{level}", layer)
        conv, following, relu = conv_norm(len(widths) * width, width, 1, norm, relu=True)
        self.linear_fuse: nn.Sequential = nn.Sequential(OrderedDict(conv=conv, bn=following, activate=relu))
        self.dropout: nn.Dropout2d = nn.Dropout2d(dropout)
        self.linear_pred: Classifier = Classifier(width, num_logits, 1)
        self.levels: int = len(widths)

    def forward(self, maps: list[Tensor]) -> Tensor:
        layers: list[Any] = list(self.linear_fuse)
        conv, *rest = layers
        size = maps[0].shape[-2:]
        # The 1x1 convolution of resized maps is the resized 1x1 convolution: each level is done at its own size.
        parts = conv.weight.chunk(self.levels, dim=1)[::-1]
        fused = None
        for level, (plane, weight) in enumerate(zip(maps, parts, strict=True), start=1):
            narrow = self.get_submodule(f"linear_c{level}")(plane)
            part = F.conv2d(narrow, weight, conv.bias if fused is None else None)
            fused = part if fused is None else fused + resize(part, size)
        for layer in rest:
            fused = layer(fused)
        logits: Tensor = self.linear_pred(self.dropout(fused))
        return logits


class LinearLayer(nn.Module):
    """A linear layer on the channels of each pixel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj: nn.Linear = nn.Linear(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.proj.weight[..., None, None], self.proj.bias)
