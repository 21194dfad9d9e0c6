"""Graphs of small networks, each made once per process."""

from __future__ import annotations

import copy
from functools import lru_cache

import torch

from everymask.export.graph import trace
from everymask.export.onnx_graph import to_onnx
from everymask.models.base import Network
from everymask.models.onestage.network import OneStageNetwork
from everymask.models.specs.any_spec import ModelSpec
from tests.models.networks import bands_of, shared_network

DIVISOR = 32


@lru_cache(maxsize=24)
def decided_network(spec: ModelSpec) -> Network:
    """The network of a spec, whose scores lie so far apart that no rounding changes their order."""
    network = copy.deepcopy(shared_network(spec)).eval()
    # With these seeds no two of the surest objects are as sure as each other.
    draw = torch.Generator().manual_seed(3 if isinstance(network, OneStageNetwork) else 0)
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


@lru_cache(maxsize=4)
def onnx_of(spec: ModelSpec) -> bytes:
    """The ONNX file of that network."""
    network = decided_network(spec)
    return to_onnx(trace(network, bands_of(spec), DIVISOR))
