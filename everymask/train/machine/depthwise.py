"""Depthwise convolutions in float32, within a network that processors train in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact_depthwise(module: nn.Module) -> None:
    """Let the depthwise convolutions of `module` calculate in float32 also where autocast is on.

    oneDNN's matrix units do nothing for them, and without a fast kernel their gradients in bfloat16 are slow: of 576
    channels of 4 x 4 pixels, 28 ms instead of 4 (PyTorch 2.14 on a processor with AVX512-BF16 and without AMX). Names
    and values of parameters stay as they are.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and not isinstance(part, _Exact) and 1 < part.groups == part.in_channels:
            part.__class__ = _exact(type(part))


class _Exact(nn.Module):
    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            found: Tensor = super().forward(x.to(self.weight.dtype))
        return found


def _exact(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """The kind of convolution that calculates as `kind` does, in float32."""
    return type(f"Exact{kind.__name__}", (_Exact, kind), {})
