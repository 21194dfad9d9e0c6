"""Queries that begin where objects are proposed, and look around in their boxes (Zhu et al. 2021, Deformable DETR)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.attention import Attention
from everymask.models.blocks.deformable import DeformableAttention, pixel_places

_TEMPERATURE = 10_000
_RARE = 0.01
"""How probable a class is before anything is learned."""
_SIDE = 0.05
"""How large an object is thought to be, as a share of the picture, before its place is looked at."""
_MARGIN = 0.01


def perceptron(inputs: int, hidden: int, outputs: int, layers: int) -> nn.Sequential:
    """Linear layers with ReLU between them. Members: 0, 2, 4 ..."""
    widths = [inputs, *[hidden] * (layers - 1), outputs]
    parts = [[nn.Linear(before, after), nn.ReLU()] for before, after in pairwise(widths)]
    return nn.Sequential(*[part for pair in parts for part in pair][:-1])


def class_head(width: int, num_classes: int) -> nn.Linear:
    """Logits of classes, each of which is rare at first."""
    head = nn.Linear(width, num_classes)
    nn.init.constant_(head.bias, math.log(_RARE / (1 - _RARE)))
    return head


def box_head(width: int) -> nn.Sequential:
    """How boxes move, which is not at all at first."""
    head = perceptron(width, width, 4, 3)
    last = cast(nn.Linear, head[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return head


def moved(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Boxes [..., 4], cxcywh in 0-1, moved by shares of their size and grown by exponentials."""
    return torch.cat(
        [deltas[..., :2] * boxes[..., 2:] + boxes[..., :2], deltas[..., 2:].exp() * boxes[..., 2:]], dim=-1
    )


class Proposals(nn.Module):
    """What a group of queries begins with: the places of the map that are objects most probably."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.embed: nn.Linear = nn.Linear(width, width)
        self.norm: nn.LayerNorm = nn.LayerNorm(width)
        self.classes: nn.Linear = class_head(width, num_classes)
        self.boxes: nn.Sequential = box_head(width)

    def forward(self, pixels: Tensor, size: tuple[int, int], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the `count` best of the pixels [B, h * w, width] what they are [B, count, width], their class logits
        [B, count, K] and their boxes [B, count, 4], cxcywh in 0-1.

        Pixels at the very border of large maps are never taken.
        """
        centres = pixel_places([size], pixels)
        beyond = ((centres <= _MARGIN) | (centres >= 1 - _MARGIN)).any(dim=1)
        anchors = torch.cat([centres, torch.full_like(centres, _SIDE)], dim=1)
        x = self.norm(self.embed(pixels.masked_fill(beyond[:, None], 0)))
        sure = self.classes(x).amax(dim=2).masked_fill(beyond, -torch.inf)
        best = sure.topk(count, dim=1).indices[:, :, None]
        taken = x.gather(1, best.expand(-1, -1, x.shape[2]))
        boxes = moved(anchors[best[:, :, 0]], self.boxes(taken))
        return taken, self.classes(taken), boxes


class BoxLayer(nn.Module):
    """Queries of a group look at each other, then at the picture in their boxes, then each at itself; norms follow."""

    def __init__(self, width: int, heads: int, read_heads: int, points: int, hidden: int) -> None:
        super().__init__()
        self.self_attn: Attention = Attention(width, heads)
        self.norm1: nn.LayerNorm = nn.LayerNorm(width)
        self.cross_attn: DeformableAttention = DeformableAttention(width, read_heads, 1, points)
        self.norm2: nn.LayerNorm = nn.LayerNorm(width)
        self.fc1: nn.Linear = nn.Linear(width, hidden)
        self.fc2: nn.Linear = nn.Linear(hidden, width)
        self.norm3: nn.LayerNorm = nn.LayerNorm(width)
        for part in (*self.self_attn.children(), self.fc1, self.fc2):
            nn.init.xavier_uniform_(cast(nn.Linear, part).weight)

    def forward(
        self, x: Tensor, positions: Tensor, boxes: Tensor, pixels: Tensor, size: tuple[int, int], groups: int
    ) -> Tensor:
        own, placed = (part.unflatten(1, (groups, -1)).flatten(0, 1) for part in (x, x + positions))
        seen = self.self_attn(placed, placed, own).unflatten(0, (-1, groups)).flatten(1, 2)
        x = self.norm1(x + seen)
        x = self.norm2(x + self.cross_attn(x + positions, boxes, pixels, [size]))
        return self.norm3(x + self.fc2(F.relu(self.fc1(x))))


class BoxDecoder(nn.Module):
    """Queries [B, N, width] after each layer, normalised; their boxes stay where they began."""

    def __init__(self, width: int, heads: int, read_heads: int, layers: int, points: int, hidden: int) -> None:
        super().__init__()
        self.position: nn.Sequential = perceptron(2 * width, width, width, 2)
        self.layers: nn.ModuleList = nn.ModuleList(
            BoxLayer(width, heads, read_heads, points, hidden) for _ in range(layers)
        )
        self.norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, boxes: Tensor, pixels: Tensor, size: tuple[int, int], groups: int
    ) -> list[Tensor]:
        """`boxes` [B, N, 4] are cxcywh in 0-1; the pixels [B, h * w, width] are those of a map of `size` (h, w)."""
        positions = self.position(box_positions(boxes, queries.shape[2]).to(queries.dtype))
        found, x = [], queries
        for layer in self.layers:
            x = layer(x, positions, boxes, pixels, size, groups)
            found.append(self.norm(x))
        return found


def box_positions(boxes: Tensor, width: int) -> Tensor:
    """Where boxes [B, N, 4] are, [B, N, 2 * width]: sines and cosines of y, x, width and height in turn."""
    count = width // 2
    steps = _TEMPERATURE ** (torch.arange(count, device=boxes.device) // 2 * 2 / count)
    angles = boxes[..., [1, 0, 2, 3]][..., None] * (2 * math.pi) / steps
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(2)
