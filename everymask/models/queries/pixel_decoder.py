"""Mask2Former's pixel decoder: deformable attention over the strides 32, 16 and 8, and a pyramid down to stride 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.attention import sine_positions
from everymask.models.blocks.deformable import DeformableAttention, Sizes, pixel_places
from everymask.models.blocks.encoders import group_count
from everymask.models.blocks.layers import conv_norm

LEVELS = 3


class SmallMapNorm(nn.GroupNorm):
    """Group norm also of maps that have one pixel, as pictures of 32 x 32 have them: it then is the bias."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class PixelLayer(nn.Module):
    """The pixels of all maps look at each other, then each at itself; norms follow."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn: DeformableAttention = DeformableAttention(width, heads, LEVELS)
        self.self_attn_layer_norm: nn.LayerNorm = nn.LayerNorm(width)
        self.fc1: nn.Linear = nn.Linear(width, hidden)
        self.fc2: nn.Linear = nn.Linear(hidden, width)
        self.final_layer_norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor, places: Tensor, sizes: Sizes) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attn(x + positions, places, x, sizes))
        return self.final_layer_norm(x + self.fc2(F.relu(self.fc1(x))))


class PixelDecoder(nn.Module):
    """Maps of an encoder at strides 4, 8, 16 and 32 to maps of `width` channels.

    The first is at stride 4, of which masks are made; those at strides 32, 16 and 8 follow, which queries look at.
    """

    def __init__(self, widths: Sequence[int], width: int, heads: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.input_projections: nn.ModuleList = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), SmallMapNorm(group_count(width), width))
            for channels in reversed(widths[-LEVELS:])
        )
        self.level_embed: nn.Parameter = nn.Parameter(torch.randn(LEVELS, width))
        self.layers: nn.ModuleList = nn.ModuleList(PixelLayer(width, heads, hidden) for _ in range(layers))
        self.lateral: nn.Sequential = conv_norm(widths[0], width, 1, "group")
        self.output: nn.Sequential = conv_norm(width, width, 3, "group", relu=True)
        self.mask_projection: nn.Conv2d = nn.Conv2d(width, width, 1)
        for convolution in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            nn.init.xavier_uniform_(convolution.weight)
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        finest, *others = maps
        coarse = [layer(x) for layer, x in zip(self.input_projections, reversed(others), strict=True)]
        sizes = [(plane.shape[2], plane.shape[3]) for plane in coarse]
        x = torch.cat([plane.flatten(2).transpose(1, 2) for plane in coarse], dim=1)
        positions = torch.cat(
            [
                sine_positions(size, x.shape[2], x) + level
                for size, level in zip(sizes, self.level_embed.unbind(), strict=True)
            ]
        )
        places = pixel_places(sizes, x)
        for layer in self.layers:
            x = layer(x, positions, places, sizes)
        parts = x.split([height * width for height, width in sizes], dim=1)
        seen = [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
        lateral = self.lateral(finest)
        # The authors interpolate bilinearly, where a feature pyramid repeats pixels.
        grown = F.interpolate(seen[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return self.mask_projection(self.output(lateral + grown)), seen
