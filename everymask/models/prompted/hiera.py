"""Hiera (Ryali et al. 2023) as SAM 2 has it, and the pyramid on top.

Parameters are called as in the published files.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import EPS, MLP, from_windows, to_windows

_POOL = 2


@dataclass(frozen=True, slots=True)
class HieraSize:
    """Channels and heads of the first stage, which double with each; blocks by stage; which blocks see the whole map;
    windows by stage; the side of the coarse positions.
    """

    width: int
    heads: int
    depths: tuple[int, int, int, int]
    whole: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    positions: int = 7

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels by stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


HIERA_SIZES = {
    "hiera_t": HieraSize(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "hiera_s": HieraSize(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "hiera_b+": HieraSize(112, 2, (2, 3, 16, 3), (12, 16, 20), positions=14),
    "hiera_l": HieraSize(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}


class PatchEmbedding(nn.Module):
    """Stride 4: [B, C, H, W] to [B, h, w, C]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj: nn.Conv2d = nn.Conv2d(channels, width, 7, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Attention within maps [B, H, W, C], whose queries may be pooled to half the sides."""

    def __init__(self, width: int, out_width: int, heads: int, *, pooled: bool) -> None:
        super().__init__()
        self.heads: int = heads
        self.pooled: bool = pooled
        self.qkv: nn.Linear = nn.Linear(width, 3 * out_width)
        self.proj: nn.Linear = nn.Linear(out_width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.pooled:
            query = _pooled(query)
        size = query.shape[1:3]
        query, key, value = (
            part.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        found = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.proj(found).unflatten(1, size)


def _pooled(x: Tensor) -> Tensor:
    return F.max_pool2d(x.permute(0, 3, 1, 2), _POOL).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention in windows (0: over the whole map), then a feed-forward network; `pooled`, the first of a stage."""

    def __init__(self, width: int, out_width: int, heads: int, window: int, *, pooled: bool) -> None:
        super().__init__()
        self.window: int = window
        self.pooled: bool = pooled
        self.norm1: nn.LayerNorm = nn.LayerNorm(width, eps=EPS)
        self.attn: Attention = Attention(width, out_width, heads, pooled=pooled)
        self.norm2: nn.LayerNorm = nn.LayerNorm(out_width, eps=EPS)
        self.mlp: MLP = MLP(out_width, 4 * out_width, out_width, activation=nn.GELU)
        if pooled:
            self.proj: nn.Linear = nn.Linear(width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        if self.pooled:
            x = _pooled(self.proj(normed))
        found = self.attn(to_windows(normed, self.window) if self.window else normed)
        x = x + (from_windows(found, (x.shape[1], x.shape[2])) if self.window else found)
        return x + self.mlp(self.norm2(x))


class Hiera(nn.Module):
    """Pictures [B, C, H, W] become maps [B, C, h, w] at strides 4, 8, 16 and 32."""

    def __init__(self, size: HieraSize, channels: int) -> None:
        super().__init__()
        self.patch_embed: PatchEmbedding = PatchEmbedding(channels, size.width)
        self.pos_embed: nn.Parameter = nn.Parameter(torch.zeros(1, size.width, size.positions, size.positions))
        self.pos_embed_window: nn.Parameter = nn.Parameter(torch.zeros(1, size.width, size.windows[0], size.windows[0]))
        self.ends: list[int] = [end - 1 for end in accumulate(size.depths)]
        self.blocks: nn.ModuleList = nn.ModuleList()
        for stage, (width, depth) in enumerate(zip(size.widths, size.depths, strict=True)):
            for place in range(depth):
                pooled = stage > 0 and place == 0
                before = stage - 1 if pooled else stage
                window = 0 if len(self.blocks) in size.whole else size.windows[before]
                heads = size.heads * 2**stage
                self.blocks.append(Block(size.widths[before], width, heads, window, pooled=pooled))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)
        x = x + self._positions((x.shape[1], x.shape[2]))
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _positions(self, size: tuple[int, int]) -> Tensor:
        window = self.pos_embed_window.shape[-1]
        coarse = F.interpolate(self.pos_embed, size, mode="bicubic")
        fine = self.pos_embed_window.tile(1, 1, size[0] // window, size[1] // window)
        return (coarse + fine).permute(0, 2, 3, 1)


class Lateral(nn.Module):
    """A map at the pyramid's width."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Pyramid(nn.Module):
    """The maps at strides 16, 8 and 4 with as many channels each; only the first is added to from above."""

    def __init__(self, widths: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.convs: nn.ModuleList = nn.ModuleList(Lateral(width, out_channels) for width in reversed(widths))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        top, middle, lower, lowest = (conv(each) for conv, each in zip(self.convs, reversed(maps), strict=True))
        return middle + F.interpolate(top, scale_factor=2.0, mode="nearest"), lower, lowest


class HieraPyramid(nn.Module):
    """Pictures [B, C, H, W] become maps at strides 16, 8 and 4."""

    def __init__(self, size: HieraSize, channels: int, out_channels: int) -> None:
        super().__init__()
        self.trunk: Hiera = Hiera(size, channels)
        self.neck: Pyramid = Pyramid(size.widths, out_channels)
        starts = (0, *accumulate(size.depths))
        parts = [tuple(f"trunk.blocks.{block}" for block in range(*pair)) for pair in pairwise(starts)]
        places = ("trunk.patch_embed", "trunk.pos_embed", "trunk.pos_embed_window")
        self.stages: tuple[tuple[str, ...], ...] = (places, parts[0], parts[1], parts[2] + parts[3])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.neck(self.trunk(x))
