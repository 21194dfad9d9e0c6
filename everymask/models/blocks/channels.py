"""Networks with fewer channels than their spec says by itself: the spec and a table of layers rebuild them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeGuard, TypeVar

from torch import Tensor, nn

from everymask.errors import ConfigError, printable
from everymask.models.specs.semantic import ChannelRow

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Joining(nn.Module):
    """A block that joins two maps; `channels` are those of the first."""

    channels: int


def with_channels(network: AnyModule, table: tuple[ChannelRow, ...]) -> AnyModule:
    """The network, whose layers of the `table` keep the first of their inputs and outputs, in place.

    A batch norm has as many channels as the convolution that is registered right before it. `ConfigError` for rows that
    name no such layer, or more channels than it has.
    """
    parts = dict(network.named_modules())
    norms = dict(_norms(network))
    for name, inputs, outputs in table:
        part = parts.get(name)
        if isinstance(part, Joining):
            part.channels = inputs
            continue
        if not is_prunable(part) or not (0 < inputs <= part.in_channels and 0 < outputs <= part.out_channels):
            raise ConfigError(f"the network has no layer {printable(name)} of {inputs} and {outputs} channels or more")
        _resize(part, inputs, outputs)
        if part in norms:
            _resize_norm(norms[part], outputs)
    return network


def table_of(whole: nn.Module, pruned: nn.Module) -> tuple[ChannelRow, ...]:
    """The rows that make of the `whole` network one with the channels of another."""
    others = dict(pruned.named_modules())
    rows: list[ChannelRow] = []
    for name, part in whole.named_modules():
        other = others[name]
        if isinstance(part, Joining) and isinstance(other, Joining) and part.channels != other.channels:
            rows.append((name, other.channels, other.channels))
        if is_prunable(part) and is_prunable(other):
            sides = other.in_channels, other.out_channels
            if sides != (part.in_channels, part.out_channels):
                rows.append((name, *sides))
    return tuple(rows)


def is_prunable(part: nn.Module | None) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d]:
    """Whether a part is a convolution in which each output sees all inputs."""
    return isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.groups == 1


def _norms(network: nn.Module) -> Iterator[tuple[nn.Module, nn.BatchNorm2d]]:
    """Each convolution whose batch norm is registered right behind it, with that."""
    for parent in network.modules():
        children = [*parent.children()]
        for first, second in pairwise(children):
            if is_prunable(first) and isinstance(second, nn.BatchNorm2d):
                yield first, second


def _resize(part: nn.Conv2d | nn.ConvTranspose2d, inputs: int, outputs: int) -> None:
    rows, columns = (inputs, outputs) if isinstance(part, nn.ConvTranspose2d) else (outputs, inputs)
    part.weight = _first(part.weight[:rows, :columns])
    if part.bias is not None:
        part.bias = _first(part.bias[:outputs])
    part.in_channels, part.out_channels = inputs, outputs


def _resize_norm(norm: nn.BatchNorm2d, channels: int) -> None:
    norm.weight, norm.bias = _first(norm.weight[:channels]), _first(norm.bias[:channels])
    for name in ("running_mean", "running_var"):
        held: Tensor = getattr(norm, name)
        setattr(norm, name, held[:channels].clone())
    norm.num_features = channels


def _first(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone())
