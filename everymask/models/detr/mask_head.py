"""Masks as products of what a query is and of what pixels are (RF-DETR-Seg)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.points import at_points

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class MaskFactors:
    """The masks of Q queries, not yet multiplied: `pixels` [B, C, h, w], `queries` [B, Q, C], and a `bias` for all."""

    pixels: Tensor
    queries: Tensor
    bias: Tensor

    def logits(self, picture: int, rows: Tensor) -> Tensor:
        """Of a picture the masks [n, h, w] of these queries [n]."""
        return torch.einsum("qc,chw->qhw", self.queries[picture, rows], self.pixels[picture]) + self.bias

    def at(self, picture: int, points: Tensor) -> Tensor:
        """The masks of all queries of a picture at `points` [1, P, 2], xy in 0-1: [Q, P]."""
        return self.queries[picture] @ at_points(self.pixels[picture], points) + self.bias

    def float(self) -> MaskFactors:
        """The same in float32."""
        return MaskFactors(self.pixels.float(), self.queries.float(), self.bias.float())


class MaskHead(nn.Module):
    """A block for the pixels of each layer of the decoder, and one for queries."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.blocks: nn.ModuleList = nn.ModuleList(PixelBlock(width) for _ in range(layers))
        self.pixels: nn.Conv2d = nn.Conv2d(width, width, 1)
        self.norm: nn.LayerNorm = nn.LayerNorm(width)
        self.fc1: nn.Linear = nn.Linear(width, 4 * width)
        self.fc2: nn.Linear = nn.Linear(4 * width, width)
        self.queries: nn.Linear = nn.Linear(width, width)
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(1))

    def proposed(self, plane: Tensor, queries: Tensor) -> MaskFactors:
        """The masks of what was proposed, of the plane as it is."""
        return MaskFactors(plane, self._asked(queries), self.bias)

    def forward(self, plane: Tensor, queries: Sequence[Tensor]) -> list[MaskFactors]:
        """The masks of queries after each layer; those of fewer, the last ones, where so many are given."""
        found = []
        first = len(self.blocks) - len(queries)
        for number, block in enumerate(self.blocks):
            plane = block(plane)
            if number >= first:
                found.append(MaskFactors(self.pixels(plane), self._asked(queries[number - first]), self.bias))
        return found

    def _asked(self, queries: Tensor) -> Tensor:
        out: Tensor = self.queries(queries + self.fc2(F.gelu(self.fc1(self.norm(queries)))))
        return out


class PixelBlock(nn.Module):
    """A convolution channel by channel, then one of single pixels; its input is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm: nn.LayerNorm = nn.LayerNorm(width, eps=_EPS)
        self.pointwise: nn.Linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + F.gelu(self.pointwise(rows)).permute(0, 3, 1, 2)
