"""A vision transformer most of whose blocks look within windows (RF-DETR, Robinson et al. 2025, 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everymask.models.blocks.encoders import vit_blocks, vit_tokens

_EVERY = 3
MAPS = 4


def windowed_maps(body: nn.Module, images: Tensor, patch: int, windows: int) -> list[Tensor]:
    """The normalised maps [B, C, h, w] after blocks 3, 6, 9 and 12 of a network of `build_vit` that has twelve.

    Blocks 4, 7 and 10 see the whole picture, the others see `windows` x `windows` windows of it one by one, each with a
    class token of its own. Both sides of the pictures are multiples of `patch` times `windows`.
    """
    grid = (images.shape[2] // patch, images.shape[3] // patch)
    x = into_windows(vit_tokens(body, images), grid, windows)
    norm = body.get_submodule("norm")
    maps = []
    for number, block in enumerate(vit_blocks(body)):
        if number and number % _EVERY == 0:
            x = block(x.unflatten(0, (-1, windows**2)).flatten(1, 2)).unflatten(1, (windows**2, -1)).flatten(0, 1)
        else:
            x = block(x)
        if number % _EVERY == _EVERY - 1:
            maps.append(out_of_windows(norm(x), grid, windows))
    return maps


def into_windows(tokens: Tensor, grid: tuple[int, int], windows: int) -> Tensor:
    """Tokens [B, 1 + h * w, C] of pictures of `grid` (h, w), as [B * windows**2, 1 + h * w / windows**2, C]."""
    own = tokens[:, :1].repeat_interleave(windows**2, dim=0)
    parts = tokens[:, 1:].unflatten(1, (windows, grid[0] // windows, windows, grid[1] // windows))
    return torch.cat([own, parts.transpose(2, 3).flatten(3, 4).flatten(0, 2)], dim=1)


def out_of_windows(x: Tensor, grid: tuple[int, int], windows: int) -> Tensor:
    """The map [B, C, h, w] of such tokens, whose class tokens go."""
    parts = x[:, 1:].unflatten(1, (grid[0] // windows, grid[1] // windows)).unflatten(0, (-1, windows, windows))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
