"""A second set of weights: the running average of those that learn."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a module's weights and statistics, in `module` (Polyak and Juditsky 1992).

    Early on, when the weights still run ahead, the average forgets faster: the decay is at most (1 + n) / (10 + n)
    after n updates.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the weights after optimizer step `step` (from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mean, new in zip(_tensors(self.module), _tensors(module), strict=True):
            if mean.is_floating_point():
                floats[0].append(mean)
                floats[1].append(new)
            else:
                mean.copy_(new)
        torch._foreach_lerp_(*floats, weight)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
