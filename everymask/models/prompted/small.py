"""A small encoder: a convolutional network of timm, whose maps meet in a pyramid (Lin et al. 2017)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.encoders import build_features, encoder_channels
from everymask.models.prompted.layers import LayerNorm2d

_SEEN = 2  # the map, of those at strides 2, 4, 8, 16 and 32, that prompts look at


class SmallPyramid(nn.Module):
    """Pictures [B, C, H, W] become maps of `width` channels at strides 8, 4 and 2, each from all coarser ones."""

    def __init__(self, encoder: str, channels: int, width: int, pretrained: Path | None) -> None:
        super().__init__()
        body: Any = build_features(encoder, channels, pretrained=pretrained, out_indices=(0, 1, 2, 3, 4))
        self.stages: tuple[tuple[str, ...], ...] = tuple(
            tuple(f"body.{part}" for part in parts) for parts in body.stages
        )
        self.body = body
        self.laterals: nn.ModuleList = nn.ModuleList(nn.Conv2d(found, width, 1) for found in encoder_channels(body))
        self.neck: nn.Sequential = nn.Sequential(
            LayerNorm2d(width), nn.Conv2d(width, width, 3, padding=1), LayerNorm2d(width)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [lateral(each) for lateral, each in zip(self.laterals, self.body(x), strict=True)]
        for level in range(len(maps) - 2, -1, -1):
            maps[level] = maps[level] + F.interpolate(maps[level + 1], scale_factor=2.0, mode="nearest")
        return self.neck(maps[_SEEN]), *reversed(maps[:_SEEN])
