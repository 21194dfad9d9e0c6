"""The transformer in which a frame looks at itself and at what is remembered (Ravi et al. 2024, "Memory attention")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.video.positions import map_positions, turned, turns

_DEPTH = 4
_WIDER = 8
_PLACED = 0.1
"""How much the places count that are added to a frame."""


class RotaryAttention(nn.Module):
    """Attention of one head, whose queries and keys are turned by where they lie (Su et al. 2021)."""

    def __init__(self, width: int, key_width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(key_width, width)
        self.v_proj = nn.Linear(key_width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, angles: tuple[Tensor, Tensor], nowhere: int = 0
    ) -> Tensor:
        """`query` [1, n, width] of a map, `key` and `value` [1, N, key_width]: maps of n places one behind the other,
        and at the end so many that lie `nowhere`.
        """
        places = query.shape[1]
        keys = self.k_proj(key)
        mapped = keys[:, : keys.shape[1] - nowhere].unflatten(1, (-1, places))
        keys = torch.cat([turned(mapped, angles).flatten(1, 2), keys[:, keys.shape[1] - nowhere :]], dim=1)
        queries = turned(self.q_proj(query), angles)
        # With an axis of heads, so that no matrix of all pairs is made.
        values = self.v_proj(value)
        found = F.scaled_dot_product_attention(queries[:, None], keys[:, None], values[:, None])
        return self.out_proj(found[:, 0])


class MemoryAttentionLayer(nn.Module):
    """The frame to itself, the frame to the memory, feed-forward; each behind a norm, and added."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(width, width)
        self.cross_attn_image = RotaryAttention(width, memory_width)
        self.linear1 = nn.Linear(width, _WIDER * width)
        self.linear2 = nn.Linear(_WIDER * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, places: Tensor, angles: tuple[Tensor, Tensor], nowhere: int) -> Tensor:
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, normed, angles)
        x = x + self.cross_attn_image(self.norm2(x), memory + places, memory, angles, nowhere)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class MemoryAttention(nn.Module):
    """A frame [1, width, h, w] as it looks with what is remembered."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(width, memory_width) for _ in range(_DEPTH))
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor, memory: Tensor, places: Tensor, nowhere: int) -> Tensor:
        """`memory` [1, N, memory_width] and where and when that was, `places`, as in `RotaryAttention`."""
        _, width, height, across = image.shape
        size = (height, across)
        x = (image + _PLACED * map_positions(size, width, image.device)).flatten(2).transpose(1, 2)
        angles = turns(size, width, image.device)
        for layer in self.layers:
            x = layer(x, memory, places, angles, nowhere)
        return self.norm(x).transpose(1, 2).unflatten(2, size)
