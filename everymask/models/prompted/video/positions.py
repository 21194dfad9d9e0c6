"""Where and when something was, as sines and cosines (Vaswani et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BASE = 10_000.0
_EPS = 1e-6


def map_positions(size: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """The places of a map of `size` (h, w), [width, h, w]: half of the channels for the row, half for the column."""
    frequencies = _frequencies(width // 2, device)
    axes = []
    for count in size:
        places = torch.arange(1, count + 1, dtype=torch.float32, device=device) / (count + _EPS) * 2 * math.pi
        angles = places[:, None] / frequencies
        axes.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1))
    rows, columns = axes
    rows = rows.T[:, :, None].expand(-1, -1, size[1])
    return torch.cat([rows, columns.T[:, None, :].expand(-1, size[0], -1)])


def time_positions(times: Tensor, width: int) -> Tensor:
    """Times [K] as [K, width]: all sines before all cosines."""
    angles = times[:, None] / _frequencies(width // 2, times.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def turns(size: tuple[int, int], width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """By which angles a map of `size` (h, w) turns `width` channels pair by pair: cosines and sines [h * w, width / 2].

    The first half of the pairs is turned by the column, the second by the row (Heo et al. 2024, axial).
    """
    pairs = width // 4
    speeds = _BASE ** -(torch.arange(pairs, dtype=torch.float32, device=device) / pairs)
    rows, columns = (torch.arange(count, dtype=torch.float32, device=device)[:, None] * speeds for count in size)
    shape = (*size, pairs)
    angles = torch.cat([columns[None].expand(shape), rows[:, None].expand(shape)], dim=2).flatten(0, 1)
    return angles.cos(), angles.sin()


def turned(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Vectors [..., n, width] turned by `turns` of n places."""
    cosines, sines = angles
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cosines - second * sines, first * sines + second * cosines], dim=-1).flatten(-2)


def _frequencies(width: int, device: torch.device) -> Tensor:
    channels = torch.arange(width, dtype=torch.float32, device=device)
    return _BASE ** (2 * (channels // 2) / width)
