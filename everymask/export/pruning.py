"""Whole channels taken out of a network: those whose weights are smallest, wherever layers share them.

Structured pruning by the groups of layers that depend on each other (Fang et al. 2023, "DepGraph"), which
`torch_pruning` finds; a channel's importance is the norm of its weights in all layers of its group (Li et al. 2017).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from everymask.errors import ConfigError, WeightsError, require
from everymask.export.graph import quiet
from everymask.models.base import Network
from everymask.models.blocks.channels import is_prunable, table_of
from everymask.models.build import build
from everymask.models.checkpoint import load_exactly
from everymask.models.semantic.unet import UNetNetwork, UpBlock
from everymask.models.specs.semantic import UNet

_ROUND_TO = 16
_MOST_ROWS = 100
_NEAR = 1e-4


@dataclass(frozen=True, slots=True)
class Pruned:
    """A network with fewer channels, and how many parameters it had and has."""

    network: Network
    before: int
    after: int


class _Logits(nn.Module):
    """A network that gives its logits alone, so that its graph can be followed."""

    def __init__(self, network: UNetNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.logits(images)[0]


def prune(network: Network, ratio: float) -> Pruned:
    """A copy without about `ratio` of the channels of each group of layers, in multiples of 16 where they have as many.

    The inputs of the first layer and the classes stay. `ConfigError` for a network that cannot be rebuilt from its spec
    and a table of channels: today all but U-Nets whose convolutions have no groups. `MissingExtra` without
    torch-pruning.
    """
    check_prunable(network)
    assert isinstance(network, UNetNetwork)
    assert isinstance(network.spec, UNet)
    tools: Any = require("torch_pruning", "prune")
    small = copy.deepcopy(network).eval()
    before = _parameters(network)
    images = torch.zeros(1, network.spec.channels, 64, 96)
    with quiet():
        pruner = tools.pruner.BasePruner(
            _Logits(small),
            images,
            importance=tools.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio,
            ignored_layers=[small.classifier],
            round_to=_ROUND_TO,
        )
        pruner.step()
    _follow(small, images)
    whole = build(replace(network.spec, pruned=()), network.num_classes)
    table = table_of(whole, small)
    if len(table) > _MOST_ROWS:
        raise ConfigError(
            f"{len(table)} layers would have other channels, but a model file describes {_MOST_ROWS}",
            hint="choose a smaller encoder, such as resnet34",
        )
    rebuilt = build(replace(network.spec, pruned=table), network.num_classes).eval()
    load_exactly(rebuilt, small.state_dict(), "the pruned network")
    with torch.inference_mode():
        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
        own, other = small.logits(noise)[0], rebuilt.logits(noise)[0]  # type: ignore[operator]
    if not torch.allclose(own, other, rtol=_NEAR, atol=_NEAR):
        raise WeightsError("the pruned network cannot be rebuilt from its table of channels")
    return Pruned(rebuilt, before, _parameters(rebuilt))


def check_prunable(network: Network) -> None:
    """`ConfigError` for a network that cannot be pruned."""
    spec = network.spec
    if not isinstance(spec, UNet) or spec.fusion is not None:
        raise ConfigError(
            f"{type(spec).__name__} cannot be pruned yet{' for two dates' if isinstance(spec, UNet) else ''}",
            hint="U-Nets can, such as --model unet with the encoder resnet34",
        )
    odd = [
        name
        for name, part in network.named_modules()
        if (isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and not is_prunable(part))
        or isinstance(part, nn.Linear | nn.GroupNorm | nn.LayerNorm)
    ]
    if odd:
        raise ConfigError(
            f"{spec.encoder} cannot be pruned yet: its layer {odd[0]} is neither a plain convolution nor a batch norm",
            hint="U-Nets with the encoders resnet18, resnet34 and plain can",
        )


def _follow(network: UNetNetwork, images: Tensor) -> None:
    """Let the blocks of the decoder know how many channels now come to them from below."""
    seen: dict[nn.Module, int] = {}
    hooks = [
        block.register_forward_pre_hook(lambda module, given: seen.__setitem__(module, given[0].shape[1]))
        for block in network.decoder
    ]
    with torch.inference_mode():
        network.logits(images)
    for hook in hooks:
        hook.remove()
    for block, channels in seen.items():
        assert isinstance(block, UpBlock)
        block.channels = block.up.out_channels if block.mode == "transposed" else channels


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
