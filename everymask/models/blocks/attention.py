"""Attention between sequences, and where the pixels of a map lie for it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TEMPERATURE = 10_000


class Attention(nn.Module):
    """Attention of several heads (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj: nn.Linear = nn.Linear(width, width)
        self.k_proj: nn.Linear = nn.Linear(width, width)
        self.v_proj: nn.Linear = nn.Linear(width, width)
        self.out_proj: nn.Linear = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None = None) -> Tensor:
        """What queries [B, N, width] make of keys and values [B, M, width]; `seen` [B, N, M] bool says which may."""
        parts = ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer, x in parts)
        mask = None if seen is None else seen[:, None]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(found.transpose(1, 2).flatten(2))


def sine_positions(size: tuple[int, int], width: int, like: Tensor) -> Tensor:
    """Where each pixel of a map of `size` (h, w) lies, [h * w, width]: sines and cosines of y, then of x.

    Both run from 0 to 2 pi over the map (Carion et al. 2020). Of the type and on the device of `like`.
    """
    place = torch.arange(width // 2, device=like.device) // 2 * 2 / (width // 2)
    parts = []
    for axis, length in enumerate(size):
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
        angles = (steps / (length + 1e-6) * 2 * math.pi)[:, None] / _TEMPERATURE**place
        waves = torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)
        parts.append((waves[:, None] if axis == 0 else waves[None]).expand(*size, -1))
    return torch.cat(parts, dim=2).flatten(0, 1).to(like.dtype)
