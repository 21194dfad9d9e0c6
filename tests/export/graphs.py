"""Graphs of small networks, each made once per process."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from everymask.backends.pytorch import network_digest
from everymask.export.graph import Traced, trace
from everymask.export.onnx_graph import to_onnx
from everymask.models.base import Network
from everymask.models.detr.network import RFDETRNetwork
from everymask.models.onestage.network import OneStageNetwork
from everymask.models.queries.eomt import EoMTNetwork
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.onestage import YOLOX, RTMDet
from tests.models.networks import bands_of, shared_network

DIVISOR = 32
_SEEDS: dict[type, int] = {YOLOX: 4, RTMDet: 3}
_MIT_STAGE = re.compile(r"\bblock\d$")


@lru_cache(maxsize=24)
def decided_network(spec: ModelSpec) -> Network:
    """The network of a spec, whose scores lie so far apart that no rounding changes their order; it is `thinned`."""
    network = thinned(copy.deepcopy(shared_network(spec)).eval())
    # With these seeds no two of the surest objects are as sure as each other.
    draw = torch.Generator().manual_seed(_SEEDS.get(type(spec), 0))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("rpn.head.cls_logits.weight", "box_predictor.cls_score.weight")):
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.5)
            elif name.startswith("head.") and parameter.ndim == 4:  # a one-stage detector's
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 2 / parameter[0].numel() ** 0.5)
        if isinstance(network, OneStageNetwork):
            # Its many norms let next to nothing pass before they have seen a picture.
            norms = [part for part in network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
            for norm in norms:
                norm.momentum = 1.0
            network.train()(torch.randn(4, network.spec.channels, 128, 128, generator=draw))
            network.eval()
    return network


def thinned(network: Network) -> Network:
    """The network without the layers of its sequences that do once more what the one before them does.

    PyTorch's exporter takes as long for each as for the first, which has shown all there is to see.
    """
    keeps: set[nn.Module] = set()

    def watch(layer: nn.Module, given: Any, answer: Any) -> None:
        if _shapes(given[0]) == _shapes(answer):
            keeps.add(layer)

    hooks = [part.register_forward_hook(watch) for part in network.modules()]
    with torch.no_grad():
        network(torch.zeros(1, bands_of(network.spec), 2 * DIVISOR, 2 * DIVISOR))
    for hook in hooks:
        hook.remove()
    counted: Any = None
    if isinstance(network, EoMTNetwork):  # of whose blocks the last see queries
        counted = network.backbone.blocks = network.backbone.blocks[-1 - network.spec.blocks :]
    elif isinstance(network, RFDETRNetwork):  # each third of whose blocks sees the whole picture, and gives a map
        counted = network.backbone.blocks
    for name, part in list(network.named_modules()):
        if (not isinstance(part, nn.Sequential) and not _MIT_STAGE.search(name)) or part is counted:
            continue
        for (_, before), (place, layer) in pairwise(list(part.named_children())):
            if layer in keeps and repr(layer) == repr(before) and any(True for _ in layer.parameters()):
                delattr(part, place)
    return network


def _shapes(value: Any) -> Any:
    return [_shapes(each) for each in value] if isinstance(value, list | tuple) else getattr(value, "shape", None)


@lru_cache(maxsize=4)
def onnx_of(spec: ModelSpec) -> bytes:
    """The ONNX file of that network."""
    network = decided_network(spec)
    return to_onnx(trace(network, bands_of(spec), DIVISOR))


def traced_once() -> Callable[[Network, int, int], Traced]:
    """`trace` that traces each network once."""
    made: dict[Any, Traced] = {}

    def remembering(network: Network, channels: int, divisor: int) -> Traced:
        key = (network_digest(network), channels, divisor)
        if key not in made:
            made[key] = trace(network, channels, divisor)
        return made[key]

    return remembering


def written_once() -> Callable[[Traced], bytes]:
    """`to_onnx` that writes each graph once."""
    made: dict[int, tuple[Traced, bytes]] = {}

    def remembering(traced: Traced) -> bytes:
        if id(traced) not in made:
            made[id(traced)] = (traced, to_onnx(traced))
        return made[id(traced)][1]

    return remembering
