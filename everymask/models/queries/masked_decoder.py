"""Mask2Former's decoder: queries that look at one map after the other, each where its mask was a layer before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.attention import Attention, sine_positions
from everymask.models.queries.pixel_decoder import LEVELS


class MaskEmbedder(nn.Sequential):
    """What a query is as a mask: three linear layers. Members: 0, 2 and 4."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )


class MaskedLayer(nn.Module):
    """Queries look at the picture, then at each other, then each at itself; norms follow."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attn: Attention = Attention(width, heads)
        self.cross_attn_layer_norm: nn.LayerNorm = nn.LayerNorm(width)
        self.self_attn: Attention = Attention(width, heads)
        self.self_attn_layer_norm: nn.LayerNorm = nn.LayerNorm(width)
        self.fc1: nn.Linear = nn.Linear(width, hidden)
        self.fc2: nn.Linear = nn.Linear(hidden, width)
        self.final_layer_norm: nn.LayerNorm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, queries: Tensor, asked: Tensor, pixels: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        found = self.cross_attn(queries + asked, pixels + positions, pixels, seen)
        queries = self.cross_attn_layer_norm(queries + found)
        placed = queries + asked
        queries = self.self_attn_layer_norm(queries + self.self_attn(placed, placed, queries))
        return self.final_layer_norm(queries + self.fc2(F.relu(self.fc1(queries))))


class MaskedDecoder(nn.Module):
    """Queries [B, Q, width] after none, one, two ... of the layers, normalised, each with its masks."""

    def __init__(self, queries: int, width: int, heads: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.queries_embedder: nn.Embedding = nn.Embedding(queries, width)
        self.queries_features: nn.Embedding = nn.Embedding(queries, width)
        self.level_embed: nn.Embedding = nn.Embedding(LEVELS, width)
        self.layers: nn.ModuleList = nn.ModuleList(MaskedLayer(width, heads, hidden) for _ in range(layers))
        self.layernorm: nn.LayerNorm = nn.LayerNorm(width)
        self.mask_embedder: MaskEmbedder = MaskEmbedder(width)

    def forward(self, finest: Tensor, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """`finest` [B, width, h, w] is what masks [B, Q, h, w] are made of, `maps` are those that are looked at."""
        pixels, positions = [], []
        for plane, level in zip(maps, self.level_embed.weight.unbind(), strict=True):
            pixels.append(plane.flatten(2).transpose(1, 2) + level)
            positions.append(sine_positions((plane.shape[2], plane.shape[3]), plane.shape[1], plane))
        queries = self.queries_features.weight.expand(finest.shape[0], -1, -1)
        answers = [self._answer(queries, finest)]
        for number, layer in enumerate(self.layers):
            turn = number % LEVELS
            seen = _seen(answers[-1][1], maps[turn])
            queries = layer(queries, self.queries_embedder.weight, pixels[turn], positions[turn], seen)
            answers.append(self._answer(queries, finest))
        return answers

    def _answer(self, queries: Tensor, finest: Tensor) -> tuple[Tensor, Tensor]:
        normalised = self.layernorm(queries)
        return normalised, torch.einsum("bqc,bchw->bqhw", self.mask_embedder(normalised), finest)


def _seen(masks: Tensor, plane: Tensor) -> Tensor:
    """[B, Q, h * w] bool: which pixels of a map each query looks at; all where its mask is nowhere."""
    logits = F.interpolate(masks.detach(), size=plane.shape[-2:], mode="bilinear", align_corners=False).flatten(2)
    inside = logits >= 0
    return inside | ~inside.any(dim=2, keepdim=True)
