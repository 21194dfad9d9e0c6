"""The graph as PyTorch's own file, for who has PyTorch where it runs, but not this package."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.export.check import Given
from everymask.export.graph import Traced, quiet
from everymask.runtimes.backend import INPUTS


def write_program(traced: Traced, file: Path) -> None:
    """Write a `.pt2` file; the names of what it gives stand in it under `outputs`."""
    for module in traced.program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            # Lines of source code, and where they stand on the machine that made the file.
            node.meta.pop("stack_trace", None)
    with quiet():
        torch.export.save(traced.program, str(file), extra_files={"outputs": ",".join(traced.outputs)})


class ProgramEngine:
    """Such a file, loaded by PyTorch."""

    def __init__(self, file: Path) -> None:
        kept = {"outputs": ""}
        with quiet():
            self._module: Any = torch.export.load(str(file), extra_files=kept).module()
        self._outputs = str(kept["outputs"]).split(",")

    @property
    def name(self) -> str:
        """`torch cpu`."""
        return "torch cpu"

    def values(self, names: Collection[str], given: Given) -> dict[str, Array]:
        """What those nodes of the graph give for a picture, by name."""
        found: dict[str, Array] = {}

        class Watched(torch.fx.Interpreter):
            """Keeps what is asked for."""

            def run_node(self, n: torch.fx.Node) -> Any:
                value = super().run_node(n)
                if n.name in names:
                    found[n.name] = value.float().numpy().copy()
                return value

        count = len(self._module.graph.find_nodes(op="placeholder"))
        with torch.inference_mode():
            Watched(self._module).run(*map(torch.from_numpy, given[:count]))
        return found

    def __call__(self, images: FloatArray, windows: IntArray) -> Mapping[str, Array]:
        """As `Engine` says."""
        return self.calculate(dict(zip(INPUTS, (images, windows), strict=True)))

    def calculate(self, given: Mapping[str, Array]) -> Mapping[str, Array]:
        """As `Engine` says."""
        count = len(self._module.graph.find_nodes(op="placeholder"))
        with torch.inference_mode():
            found = self._module(*(torch.from_numpy(given[name]) for name in INPUTS[:count]))
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, found, strict=True)}
