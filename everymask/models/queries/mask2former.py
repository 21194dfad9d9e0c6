"""Mask2Former (Cheng et al. 2022): an encoder, deformable attention over its maps, queries with masked attention."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import ChannelNorm
from everymask.models.queries.losses import Answer
from everymask.models.queries.masked_decoder import MaskedDecoder
from everymask.models.queries.network import QueryNetwork
from everymask.models.queries.pixel_decoder import PixelDecoder
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.specs.queries import SWIN_ENCODERS, Mask2Former

_MAPS = 4
_SWIN_EPS = 1e-5


class Mask2FormerNetwork(QueryNetwork):
    """Pictures to one answer of the queries before their first layer, and one after each."""

    spec: Mask2Former

    def __init__(self, spec: Mask2Former, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        swin = spec.encoder in SWIN_ENCODERS
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, dense_swin=swin, pretrained=pretrained_encoder
        )
        widths = encoder_shape(self.backbone)[0][-_MAPS:]
        self.norms: nn.ModuleList = nn.ModuleList(
            ChannelNorm(width, _SWIN_EPS) if swin else nn.Identity() for width in widths
        )
        self.pixel_decoder: PixelDecoder = PixelDecoder(
            widths, spec.width, spec.heads, spec.pixel_layers, spec.pixel_hidden
        )
        self.decoder: MaskedDecoder = MaskedDecoder(spec.queries, spec.width, spec.heads, spec.layers, spec.hidden)
        self.class_predictor: nn.Linear = nn.Linear(spec.width, 1 + num_classes)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """All from the queries on, where a mask is a threshold."""
        return ("decoder", *super().exact_parts)

    def answers(self, images: Tensor, generator: torch.Generator | None = None) -> list[Answer]:
        encoded = encode(self.backbone, images)[-_MAPS:]
        maps = [norm(plane) for norm, plane in zip(self.norms, encoded, strict=True)]
        finest, seen = self.pixel_decoder(maps)
        exact = self.decoder.layernorm.weight.dtype
        found = self.decoder(finest.to(exact), [plane.to(exact) for plane in seen])
        return [Answer(self.class_predictor(queries), masks) for queries, masks in found]

    def train(self, mode: bool = True) -> Self:
        """As usual, but frozen norms never move."""
        super().train(mode)
        if self.spec.norm == "frozen":
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
