"""Random weights under which a difference between two networks shows: signals keep their scale, norms have moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def well_scaled(
    network: Network, images: Tensor, logits_of: Callable[..., Tensor] = lambda outputs: outputs
) -> Network:
    """The network with random weights, in evaluation mode; its logits on `images` have a deviation of 1.

    Statistics of batch norms are those of `images`, disturbed a little, and no norm is the identity.
    """
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d):
            fan_in = module.weight[0].numel()
            _fill(module.weight, draw, std=(2 / fan_in) ** 0.5)
            if module.bias is not None:
                _fill(module.bias, draw, std=0.1)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
            _fill(module.weight, draw, std=0.2, mean=1.0)
            _fill(module.bias, draw, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                noise = torch.randn(module.num_features, generator=draw)
                module.running_mean.add_(0.1 * noise * module.running_var.sqrt())
                module.running_var.mul_((0.1 * noise).exp())
                module.momentum = 0.1
        spread = logits_of(network.eval()(images)).std()
        last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
        last.weight.div_(spread)
        if last.bias is not None:
            last.bias.div_(spread)
    return network


def _fill(parameter: Tensor, draw: torch.Generator, *, std: float, mean: float = 0.0) -> None:
    with torch.no_grad():
        parameter.copy_(mean + std * torch.randn(parameter.shape, generator=draw))
