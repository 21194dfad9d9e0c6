"""Masks compared at points in place of pixels (Kirillov et al. 2020, PointRend)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

_MORE = 3
_UNSURE = 0.75


def at_points(masks: Tensor, points: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """What masks [N, H, W] are at `points` [N or 1, P, 2], xy in 0-1: [N, P], 0 beyond them."""
    grid = 2 * points.expand(len(masks), -1, -1)[:, :, None] - 1
    return F.grid_sample(masks[:, None], grid, mode=mode, align_corners=False)[:, 0, :, 0]


def draw_points(count: int, masks: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """`count` points of so many masks [masks, count, 2], drawn on the processor so that every device has the same."""
    return torch.rand(masks, count, 2, generator=generator).to(like.device)


@torch.no_grad()
def unsure_points(logits: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`count` points [N, count, 2] for each of the masks with `logits` [N, h, w].

    Three quarters are those of three times as many drawn ones where logits are nearest to 0; the rest lies anywhere.
    """
    drawn = draw_points(_MORE * count, len(logits), generator, logits)
    unsure = int(_UNSURE * count)
    chosen = at_points(logits, drawn).abs().topk(unsure, dim=1, largest=False).indices
    kept = drawn.gather(1, chosen[:, :, None].expand(-1, -1, 2))
    return torch.cat([kept, draw_points(count - unsure, len(logits), generator, logits)], dim=1)
