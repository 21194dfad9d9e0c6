"""Multi-scale deformable attention of PyTorch's own operations, which every device has and graphs can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.tracing import numbers

Sizes = Sequence[tuple[int, int]]
POINTS = 4
"""Of each map and head, as most networks have it."""


class DeformableAttention(nn.Module):
    """Each query reads each of several maps at a few points around its own place (Zhu et al. 2021).

    Members are called as in the authors' `MSDeformAttn`.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int = POINTS) -> None:
        super().__init__()
        self.heads: int = heads
        self.levels: int = levels
        self.points: int = points
        self.sampling_offsets: nn.Linear = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights: nn.Linear = nn.Linear(width, heads * levels * points)
        self.value_proj: nn.Linear = nn.Linear(width, width)
        self.output_proj: nn.Linear = nn.Linear(width, width)
        self._initialise()

    def forward(self, queries: Tensor, places: Tensor, values: Tensor, sizes: Sizes) -> Tensor:
        """What queries [B, N, width] at `places` read in `values` [B, S, width].

        Places are points [N, 2], xy in 0-1, from which offsets count in pixels of a map; or boxes [B, N, 4], cxcywh in
        0-1, from whose centres they count in half sides, shared by the points. `values` are the pixels of all maps, one
        map of `sizes` (h, w) after the other. What lies beyond a map is 0. Places are calculated in float32, whose
        digits they need.
        """
        shape = (self.heads, self.levels, self.points)
        weights = self.attention_weights(queries).unflatten(2, (self.heads, -1)).softmax(dim=3).float()
        offsets = self.sampling_offsets(queries).float().unflatten(2, (*shape, 2))
        read = self.value_proj(values).float().unflatten(2, (self.heads, -1))
        maps = read.split([height * width for height, width in sizes], dim=1)
        shares = weights.transpose(1, 2).flatten(0, 1)[:, None]
        found = []
        for level, (one, size) in enumerate(zip(maps, sizes, strict=True)):
            plane = one.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, size)
            if places.shape[-1] == 2:
                grid = places[:, None, None] + offsets[:, :, :, level] / numbers(size[::-1], offsets)
            else:
                centres, sides = places.float()[:, :, None, None].chunk(2, dim=4)
                grid = centres + offsets[:, :, :, level] / self.points * sides * 0.5
            grid = 2 * grid.transpose(1, 2).flatten(0, 1) - 1
            share = shares[..., level * self.points : (level + 1) * self.points]
            # Map by map: what is read of all of them would not stay in a processor's cache.
            found.append((F.grid_sample(plane, grid, align_corners=False) * share).sum(dim=3))
        total = torch.stack(found).sum(dim=0)
        joined = total.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        return self.output_proj(joined.to(queries.dtype))

    def _initialise(self) -> None:
        """At first each head looks into its own direction, and its points lie one pixel apart."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().amax(dim=1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        offsets = directions[:, None, None] * steps[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            for layer in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(layer.weight)
                layer.bias.zero_()


def pixel_places(sizes: Sizes, like: Tensor) -> Tensor:
    """The centres [S, 2] of the pixels of all maps, xy in 0-1, float32 on the device of `like`."""
    parts = []
    for height, width in sizes:
        y, x = ((torch.arange(side, device=like.device) + 0.5) / side for side in (height, width))
        parts.append(torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=2).flatten(0, 1))
    return torch.cat(parts).float()
