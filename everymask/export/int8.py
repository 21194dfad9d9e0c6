"""Graphs in int8: quantised after training, per channel, in one ONNX file that ONNX Runtime and OpenVINO both read.

Activations become unsigned bytes by the range that calibration pictures show, weights signed bytes by the range of each
channel (Jacob et al. 2018; Wu et al. 2020, "Integer quantization for deep learning inference"). Layers that would lose
too much stay in float, the worst first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import Array
from everymask.errors import require
from everymask.export.check import Given
from everymask.export.graph import quiet
from everymask.runtimes.backend import INPUTS, Engine

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""The operators that are quantised: nearly all arithmetic."""
CALIBRATED = 64
"""Up to how many pictures calibrate."""
_RANKED_BY = 4


class _Reader:
    """Calibration pictures as ONNX Runtime asks for them: each by name."""

    def __init__(self, pictures: Sequence[Given], names: Sequence[str]) -> None:
        self._left, self._names = iter(pictures), names

    def get_next(self) -> dict[str, Array] | None:
        """The next picture, None behind the last."""
        given = next(self._left, None)
        return None if given is None else dict(zip(self._names, given, strict=False))

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """All from here on."""
        return iter(self.get_next, None)


def that_show_something(engine: Engine, inputs: Iterator[Given]) -> list[Given]:
    """Those in which the float graph finds anything: where it finds nothing, heads say nothing of their range."""
    return [given for given in inputs if all(value.size for value in engine(*given).values())]


@dataclass(frozen=True, slots=True)
class Quantiser:
    """A float graph that is quantised for calibration `pictures`, in a temporary `folder`."""

    graph: bytes
    pictures: Sequence[Given]
    folder: Path

    def quantised(self, left: Sequence[str] = ()) -> bytes:
        """The graph in int8, but for the layers `left`, by their nodes' names."""
        tools: Any = require("onnxruntime.quantization", "export")
        made = self.folder / "int8.onnx"
        with quiet():
            tools.quantize_static(
                str(self._prepared()),
                str(made),
                self._reader(),
                quant_format=tools.QuantFormat.QDQ,
                op_types_to_quantize=list(LAYERS),
                nodes_to_exclude=list(left),
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                calibrate_method=tools.CalibrationMethod.MinMax,
            )
        return made.read_bytes()

    def ranked(self) -> list[str]:
        """The names of the layers that are quantised, those first that lose most: the one that gives the answer, then
        by how much farther from the float graph's a layer's output lies than its input, both as shares of themselves.
        """
        debug: Any = require("onnxruntime.quantization.qdq_loss_debug", "export")
        onnx: Any = require("onnx", "export")
        (self.folder / "ranked.onnx").write_bytes(self.quantised())
        seen: list[Mapping[str, Sequence[Array]]] = []
        with quiet():
            for name in ("prepared.onnx", "ranked.onnx"):
                more = self.folder / f"more-{name}"
                debug.modify_model_output_intermediate_tensors(str(self.folder / name), str(more), list(LAYERS))
                seen.append(debug.collect_activations(str(more), self._reader(_RANKED_BY)))
        layers = [node for node in onnx.load(str(self._prepared())).graph.node if node.op_type in LAYERS]
        exact, rough = seen
        added = {
            node.name: _apart(exact, rough, node.output[0]) - _apart(exact, rough, node.input[0]) for node in layers
        }
        return list(
            dict.fromkeys([*(node.name for node in layers[-1:]), *sorted(added, key=lambda name: -added[name])])
        )

    def _prepared(self) -> Path:
        """The float graph, simplified and with the shapes that quantisation asks for."""
        made, given = self.folder / "prepared.onnx", self.folder / "float.onnx"
        if not made.exists():
            shapes: Any = require("onnxruntime.quantization.shape_inference", "export")
            given.write_bytes(self.graph)
            with quiet():
                shapes.quant_pre_process(str(given), str(made), skip_symbolic_shape=True)
        return made

    def _names(self) -> tuple[str, ...]:
        onnx: Any = require("onnx", "export")
        taken = {value.name for value in onnx.load(str(self._prepared())).graph.input}
        return tuple(name for name in INPUTS if name in taken)

    def _reader(self, most: int | None = None) -> Any:
        tools: Any = require("onnxruntime.quantization", "export")
        tools.CalibrationDataReader.register(_Reader)
        return _Reader(self.pictures[:most], self._names())


def _apart(exact: Mapping[str, Sequence[Array]], rough: Mapping[str, Sequence[Array]], name: str) -> float:
    """How far a value of the int8 graph lies from that of the float graph, as a share of it, on average over pictures.

    0 where they cannot be compared.
    """
    others = rough.get(f"{name}_DequantizeLinear_Output", rough.get(name, ()))
    pairs = zip(exact.get(name, ()), others, strict=False)
    shares = [
        float(np.linalg.norm(one - other) / max(float(np.linalg.norm(one)), 1e-9))
        for one, other in pairs
        if one.shape == other.shape
    ]
    return float(np.mean(shares)) if shares else 0.0
