"""A network as one graph of PyTorch's, for pictures of any size: what all targets are made from."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from everymask.errors import ConfigError, printable
from everymask.models.base import Network
from everymask.models.inference import folded
from everymask.runtimes.backend import INPUTS


@dataclass(frozen=True, slots=True)
class Traced:
    """A program, the names of what it takes and gives, and whether it takes one picture at a time."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    one_by_one: bool


class _Graph(nn.Module):
    """The network, which gives its tensors in their order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, windows: Tensor | None = None) -> tuple[Tensor, ...]:
        outputs: Any = self.network(images, windows)
        return tuple(outputs.tensors().values())


def trace(network: Network, channels: int, divisor: int) -> Traced:
    """The graph of a network in float32, norms folded, for pictures whose sides are multiples of `divisor`.

    Batch, height and width stay open; where the network goes `one_by_one`, the batch is one picture. What a runtime
    calculates faster in its own way (Winograd's convolutions) is left to it. `ConfigError` where the network decides
    something by a size that must stay open.
    """
    ready = folded(network)
    count = 1 if network.one_by_one else 2
    images = torch.zeros(count, channels, 4 * divisor, 6 * divisor)
    windows = torch.tensor([[0, 0, 6 * divisor - 1, 4 * divisor - 2]])
    given = (images, windows) if network.one_by_one else (images,)
    outputs: Any = ready(*given)
    sides: dict[int, Any] = {2: _side("height", divisor), 3: _side("width", divisor)}
    batch = {} if network.one_by_one else {0: Dim("batch", min=1)}
    shapes = ({**batch, **sides}, {}) if network.one_by_one else ({**batch, **sides},)
    try:
        with quiet():
            program = torch.export.export(_Graph(ready), given, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever PyTorch finds in the way
        raise ConfigError(
            f"{type(network.spec).__name__} with the encoder {network.spec.encoder} cannot be traced for pictures of "
            f"any size: {printable(error)}",
            hint="choose another encoder; everymask export --list shows what is known to go",
        ) from error
    names = INPUTS if network.one_by_one else INPUTS[:1]
    return Traced(program, names, tuple(outputs.tensors()), network.one_by_one)


def _side(name: str, divisor: int) -> Any:
    return Dim(name, min=2) if divisor == 1 else divisor * Dim(f"{name}_{divisor}", min=1)


@contextmanager
def quiet() -> Iterator[None]:
    """Within, PyTorch's exporters say only what stops them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
