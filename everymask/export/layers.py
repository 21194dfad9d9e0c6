"""Where an exported graph begins to differ: what layers give, in the network and in the graph, for one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from everymask.core.arrays import Array
from everymask.errors import require
from everymask.export.check import Given
from everymask.models.base import Network
from everymask.models.inference import folded
from everymask.runtimes.backend import TAPPED
from everymask.runtimes.bundle import GraphPrecision

NOTICED: dict[GraphPrecision, float] = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.1, "int8": 0.2}
"""From which difference on a layer is named, as a share of its largest value."""
_ROOT = "network."


@dataclass(frozen=True, slots=True)
class LayerApart:
    """A layer by its module's name, and how far its output lies from the network's, as a share of the largest value."""

    name: str
    difference: float


def layers_of(program: ExportedProgram) -> dict[str, str]:
    """The layers of a traced network in the order of calculation, each with the value in the graph that is its output.

    Of a layer that is called several times it is the output of the first call.
    """
    found: dict[str, str] = {}
    for node in program.graph.nodes:
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            if path.startswith(_ROOT) and "@" not in f"{key}{path}":
                found[path.removeprefix(_ROOT)] = node.name
    leaves = set(found) - {name.rpartition(".")[0] for name in found}
    return {name: value for name, value in found.items() if name in leaves}


def outputs_of(network: Network, names: Sequence[str], given: Given) -> dict[str, Array]:
    """What those layers of the network, norms folded as in its graph, give for a picture when they are first called."""
    ready, kept = folded(network), dict[str, Array]()

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if name not in kept and isinstance(output, Tensor):
            # A copy: what follows may write into it.
            kept[name] = output.float().numpy().copy()

    for name in names:
        ready.get_submodule(name).register_forward_hook(partial(keep, name))
    with torch.inference_mode():
        ready(*map(torch.from_numpy, given))
    return kept


def tapped(graph: bytes, values: Sequence[str]) -> bytes:
    """An ONNX graph that also gives those of the values that it has, each under its name behind `TAPPED`."""
    onnx: Any = require("onnx", "export")
    model = onnx.load_from_string(graph)
    there = {output for node in model.graph.node for output in node.output}
    for value in values:
        if value in there:
            model.graph.node.append(onnx.helper.make_node("Identity", [value], [TAPPED + value]))
            model.graph.output.append(onnx.ValueInfoProto(name=TAPPED + value))
    data: bytes = model.SerializeToString()
    return data


def first_apart(own: Mapping[str, Array], other: Mapping[str, Array], tolerance: float) -> LayerApart | None:
    """The first layer that differs by more than `tolerance`, if one does.

    Layers that are in one side alone or have other shapes there tell nothing.
    """
    for name, value in own.items():
        if name not in other or value.shape != other[name].shape or not value.size:
            continue
        scale = max(float(np.abs(value).max()), 1e-6)
        found = LayerApart(name, float(np.abs(value - other[name].astype(np.float32)).max()) / scale)
        if not found.difference <= tolerance:
            return found
    return None
