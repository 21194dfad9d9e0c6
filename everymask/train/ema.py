"""A second set of weights: the running average of those that learn."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of the weights and statistics of `source`, in `module` (Polyak and Juditsky 1992).

    Early on, when the weights still run ahead, the average forgets faster: the decay is at most (1 + n) / (10 + n)
    after n updates.
    """

    def __init__(self, source: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module: nn.Module = copy.deepcopy(source).eval().requires_grad_(False)
        pairs = list(zip(_tensors(self.module), _tensors(source), strict=True))
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after optimizer step `step` (from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        means, values = zip(*self._floats, strict=True)
        torch._foreach_lerp_(means, values, weight)
        for mean, new in self._counts:
            mean.copy_(new)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
