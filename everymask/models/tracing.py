"""What a network says differently while it is traced into a graph, whose sizes are open.

There is one way through each network. These are the few places where a size decides something in Python, and where a
graph, which must serve every size, has to be told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def tracing() -> bool:
    """Whether the network is being traced by `torch.export` or `torch.compile`."""
    return torch.compiler.is_compiling()


def same_size(first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether two sizes are equal; while tracing, whether they are so for all pictures."""
    if not tracing():
        return tuple(first) == tuple(second)
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return all(statically_known_true(a == b) for a, b in zip(first, second, strict=True))


def numbers(values: Sequence[int], like: Tensor) -> Tensor:
    """Whole numbers, such as sizes, as a tensor of the type and on the device of `like`."""
    if not tracing():
        return like.new_tensor(values)
    return torch.stack([torch.scalar_tensor(value, dtype=like.dtype, device=like.device) for value in values])


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """PyTorch's, which in a graph of open sizes is two products with matrices of shares."""

    def forward(self, x: Tensor) -> Tensor:
        side = self.output_size
        if not tracing() or not isinstance(side, int) or side == 1:
            return super().forward(x)
        down, across = (_shares(length, side, x) for length in x.shape[-2:])
        return down @ x @ across.T


def cubic(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, C, h, w] at another `size`, cubic and, where it is smaller, with a wider filter against aliasing.

    In a graph these are two products with matrices: runtimes have operators for it, but not all heed the wider filter.
    """
    if not tracing():
        return F.interpolate(plane, size=size, mode="bicubic", antialias=True)
    down, across = (_weights(before, after, plane) for before, after in zip(plane.shape[-2:], size, strict=True))
    return down @ plane @ across.T


def _weights(before: int, after: int, like: Tensor) -> Tensor:
    """[after, before]: how much each of so many places counts in each of the new ones (Keys 1981, with a = -1/2)."""
    scale = torch.scalar_tensor(before, dtype=like.dtype) / torch.scalar_tensor(after, dtype=like.dtype)
    middle = (torch.arange(after, device=like.device) + 0.5) * scale
    place = torch.arange(before, device=like.device) + 0.5
    apart = ((place - middle[:, None]) / scale.clamp(min=1)).abs()
    near = (1.5 * apart - 2.5) * apart**2 + 1
    far = ((-0.5 * apart + 2.5) * apart - 4) * apart + 2
    weights = torch.where(apart <= 1, near, torch.where(apart < 2, far, 0.0))
    return weights / weights.sum(dim=1, keepdim=True)


def _shares(length: int, parts: int, like: Tensor) -> Tensor:
    """[parts, length]: how much each pixel counts in the mean of each part, which PyTorch lets overlap."""
    part = torch.arange(parts, device=like.device)[:, None]
    first, last = part * length // parts, ((part + 1) * length + parts - 1) // parts
    place = torch.arange(length, device=like.device)
    inside = ((place >= first) & (place < last)).to(like.dtype)
    return inside / (last - first).to(like.dtype)
