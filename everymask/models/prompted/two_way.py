"""The transformer in which tokens look at the picture and the picture at the tokens.

Of all tensors the first axis counts prompts. Until a prompt has changed it the picture is the same for all: what the
first layer needs of it is calculated once, with one row for all prompts (`Scene`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.vit import FeedForward

_DEPTH = 2
_HEAD = 32  # channels of the network for each head
_WIDER = 8
_NARROWER = 2


class CrossAttention(nn.Module):
    """Attention in `inner` channels: queries, keys and values [P or 1, heads, N, c] by `query`, `key` and `value`."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.heads: int = width // _HEAD
        self.q_proj: nn.Linear = nn.Linear(width, inner)
        self.k_proj: nn.Linear = nn.Linear(width, inner)
        self.v_proj: nn.Linear = nn.Linear(width, inner)
        self.out_proj: nn.Linear = nn.Linear(inner, width)

    def query(self, x: Tensor) -> Tensor:
        return self._heads(self.q_proj(x))

    def key(self, x: Tensor) -> Tensor:
        return self._heads(self.k_proj(x))

    def value(self, x: Tensor) -> Tensor:
        return self._heads(self.v_proj(x))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        prompts = max(query.shape[0], key.shape[0])
        query, key, value = (part.expand(prompts, -1, -1, -1) for part in (query, key, value))
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Scene:
    """The picture `image` [P or 1, h * w, width] before a layer, where its `places` [1, h * w, width] lie, and what it
    is to the tokens (`key`, `value`) and asks of them (`query`) in that layer.
    """

    image: Tensor
    places: Tensor
    key: Tensor
    value: Tensor
    query: Tensor


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to picture, feed-forward, picture to tokens."""

    def __init__(self, width: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn: CrossAttention = CrossAttention(width, width)
        self.norm1: nn.LayerNorm = nn.LayerNorm(width)
        self.cross_attn_token_to_image: CrossAttention = CrossAttention(width, width // _NARROWER)
        self.norm2: nn.LayerNorm = nn.LayerNorm(width)
        self.mlp: FeedForward = FeedForward(width, _WIDER * width, nn.ReLU)
        self.norm3: nn.LayerNorm = nn.LayerNorm(width)
        self.norm4: nn.LayerNorm = nn.LayerNorm(width)
        self.cross_attn_image_to_token: CrossAttention = CrossAttention(width, width // _NARROWER)

    def scene(self, image: Tensor, places: Tensor) -> Scene:
        """The picture as this layer sees it."""
        towards, back, placed = self.cross_attn_token_to_image, self.cross_attn_image_to_token, image + places
        return Scene(image, places, towards.key(placed), towards.value(image), back.query(placed))

    def forward(self, tokens: Tensor, asked: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
        """Tokens and picture after the layer; `asked` are the tokens as they came, which say where they are."""
        among, towards, back = self.self_attn, self.cross_attn_token_to_image, self.cross_attn_image_to_token
        if self.first:
            tokens = among(among.query(tokens), among.key(tokens), among.value(tokens))
        else:
            placed = tokens + asked
            tokens = tokens + among(among.query(placed), among.key(placed), among.value(tokens))
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + towards(towards.query(tokens + asked), scene.key, scene.value))
        tokens = self.norm3(tokens + self.mlp(tokens))
        found = back(scene.query, back.key(tokens + asked), back.value(tokens))
        return tokens, self.norm4(scene.image + found)


class TwoWayTransformer(nn.Module):
    """Two blocks, and a last look of the tokens at the picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers: nn.ModuleList = nn.ModuleList(TwoWayBlock(width, first=layer == 0) for layer in range(_DEPTH))
        self.final_attn_token_to_image: CrossAttention = CrossAttention(width, width // _NARROWER)
        self.norm_final_attn: nn.LayerNorm = nn.LayerNorm(width)

    def scene(self, image: Tensor, places: Tensor) -> Scene:
        """The picture as the first layer sees it; see `Scene` for the shapes."""
        return next(self._blocks()).scene(image, places)

    def forward(self, scene: Scene, asked: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [P, T, width] and picture [P, h * w, width] after the prompts' tokens `asked` [P, T, width]."""
        first, *others = self._blocks()
        tokens, image = first(asked, asked, scene)
        for layer in others:
            tokens, image = layer(tokens, asked, layer.scene(image, scene.places))
        last = self.final_attn_token_to_image
        found = last(last.query(tokens + asked), last.key(image + scene.places), last.value(image))
        return self.norm_final_attn(tokens + found), image

    def _blocks(self) -> Iterator[TwoWayBlock]:
        return (layer for layer in self.layers if isinstance(layer, TwoWayBlock))
