"""The plain vision transformer of SAM: windows in most blocks, the whole map in four of them (ViTDet, Li et al. 2022).

Parameters are called as in the published files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import EPS, from_windows, neck, to_windows

PATCH = 16
WINDOW = 14


@dataclass(frozen=True, slots=True)
class ViTSize:
    """Channels, blocks, heads, and which blocks see the whole map."""

    width: int
    depth: int
    heads: int
    whole: tuple[int, ...]


VIT_SIZES = {
    "vit_t": ViTSize(192, 12, 3, (2, 5, 8, 11)),
    "vit_b": ViTSize(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": ViTSize(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": ViTSize(1280, 32, 16, (7, 15, 23, 31)),
}


class PatchEmbedding(nn.Module):
    """Each patch of 16 x 16 pixels becomes a place of the map: [B, C, H, W] to [B, h, w, C]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj: nn.Conv2d = nn.Conv2d(channels, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Attention within a map of `side` x `side` places, which knows how far apart two places are along each axis."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads: int = heads
        each = width // heads
        self.qkv: nn.Linear = nn.Linear(width, 3 * width)
        self.proj: nn.Linear = nn.Linear(width, width)
        self.rel_pos_h: nn.Parameter = nn.Parameter(torch.zeros(2 * side - 1, each))
        self.rel_pos_w: nn.Parameter = nn.Parameter(torch.zeros(2 * side - 1, each))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).view(batch, height, width, 3, self.heads, -1)
        down, across = _by_distance(self.rel_pos_h, height), _by_distance(self.rel_pos_w, width)
        # Head by head: the bias of a whole map has a number for each pair of its 4,096 places.
        heads = [_attended(qkv[..., head, :], down, across) for head in range(self.heads)]
        return self.proj(torch.cat(heads, dim=-1).view(batch, height, width, channels))


def _by_distance(table: Tensor, side: int) -> Tensor:
    """The rows [side, side, C] of a table [2 * side - 1, C] for each place and each that it looks at."""
    place = torch.arange(side, device=table.device)
    return table[place[:, None] - place[None] + side - 1]


def _attended(qkv: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """One head: queries, keys and values [B, H, W, 3, c] in, [B, H, W, c] out."""
    batch, height, width = qkv.shape[:3]
    query = qkv[..., 0, :]
    by_row = torch.einsum("bhwc,hkc->bhwk", query, down).contiguous()
    by_column = torch.einsum("bhwc,wkc->bhwk", query, across).contiguous()
    bias = (by_row[..., :, None] + by_column[..., None, :]).view(batch, height * width, height * width)
    flat = qkv.reshape(batch, 1, height * width, 3, -1)
    found = F.scaled_dot_product_attention(flat[..., 0, :], flat[..., 1, :], flat[..., 2, :], attn_mask=bias[:, None])
    return found.view(batch, height, width, -1)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1: nn.Linear = nn.Linear(width, hidden)
        self.lin2: nn.Linear = nn.Linear(hidden, width)
        self.act: nn.Module = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


class Block(nn.Module):
    """Attention in windows, or with `window` 0 over the whole map of `side` places, then a feed-forward network."""

    def __init__(self, size: ViTSize, window: int, side: int) -> None:
        super().__init__()
        self.window = window
        self.norm1: nn.LayerNorm = nn.LayerNorm(size.width, eps=EPS)
        self.attn: Attention = Attention(size.width, size.heads, window or side)
        self.norm2: nn.LayerNorm = nn.LayerNorm(size.width, eps=EPS)
        self.mlp: FeedForward = FeedForward(size.width, 4 * size.width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        if self.window:
            found = from_windows(self.attn(to_windows(normed, self.window)), (x.shape[1], x.shape[2]))
        else:
            found = self.attn(normed)
        x = x + found
        return x + self.mlp(self.norm2(x))


class ImageEncoderViT(nn.Module):
    """Pictures [B, C, side, side] become an embedding [B, 256, side / 16, side / 16]."""

    def __init__(self, size: ViTSize, channels: int, side: int, out_channels: int) -> None:
        super().__init__()
        places = side // PATCH
        self.patch_embed: PatchEmbedding = PatchEmbedding(channels, size.width)
        self.pos_embed: nn.Parameter = nn.Parameter(torch.zeros(1, places, places, size.width))
        windows = [0 if block in size.whole else WINDOW for block in range(size.depth)]
        self.blocks: nn.ModuleList = nn.ModuleList(Block(size, window, places) for window in windows)
        self.neck: nn.Sequential = neck(size.width, out_channels)
        thirds = [
            [f"blocks.{block}" for block in range(size.depth) if 3 * block // size.depth == part] for part in range(3)
        ]
        self.stages: tuple[tuple[str, ...], ...] = (("patch_embed", "pos_embed"), *map(tuple, thirds))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
