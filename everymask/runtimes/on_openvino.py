"""Graphs calculated by OpenVINO."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.errors import ConfigError, WeightsError, printable, require
from everymask.runtimes.backend import INPUTS, MAPS, OUTPUTS, PROMPTS, TAPPED
from everymask.runtimes.bundle import GraphPrecision

_HINTS: dict[GraphPrecision, str] = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
_NEEDED: dict[GraphPrecision, str] = {"fp16": "FP16", "bf16": "BF16"}


class OpenVinoEngine:
    """A graph in OpenVINO, on "cpu" or the first GPU of Intel's ("gpu"); "auto" is the CPU.

    `precision` is what is calculated where the graph leaves it open; `threads` is how many it calculates with, None: as
    many as there are cores.
    """

    def __init__(
        self,
        graph: bytes | Path,
        *,
        precision: GraphPrecision = "fp32",
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        core = _core()
        wanted = "CPU" if device == "auto" else device.upper()
        if wanted not in core.available_devices:
            known = ", ".join(core.available_devices).lower()
            raise ConfigError(
                f"device {printable(device)!r} cannot be used by OpenVINO, which has {known}", hint="leave out device"
            )
        settings = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            model = core.read_model(str(graph) if isinstance(graph, Path) else graph)
            self._model = core.compile_model(model, wanted, settings)
        except Exception as error:  # whatever OpenVINO says
            raise WeightsError(f"OpenVINO cannot load the graph: {printable(error)}") from error
        self._device = wanted.lower()
        self._inputs = [_name_of(value, (*INPUTS, *PROMPTS, *MAPS)) for value in self._model.inputs]
        self._outputs = [_name_of(value, (*OUTPUTS, *MAPS)) for value in self._model.outputs]
        self._idle: deque[Any] = deque()

    @property
    def name(self) -> str:
        """`openvino cpu`."""
        return f"openvino {self._device}"

    def __call__(self, images: FloatArray, windows: IntArray) -> Mapping[str, Array]:
        """As `Engine` says."""
        return self.calculate(dict(zip(INPUTS, (images, windows), strict=True)))

    def calculate(self, given: Mapping[str, Array]) -> Mapping[str, Array]:
        """As `Engine` says."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.infer([given[name] for name in self._inputs], share_inputs=True)
        # Copies: the request's memory is the next picture's.
        found = {name: value.data.copy() for name, value in zip(self._outputs, request.output_tensors, strict=True)}
        self._idle.append(request)
        return found


@cache
def _core() -> Any:
    """The one of this process, kept for good.

    Each Core gives its thread a stack for signals, and puts back the one before when it goes: of two, that may be the
    other's, which is gone by then, and the next signal (Ctrl-C, a child that ends) ends the process.
    """
    openvino: Any = require("openvino", "openvino")
    return openvino.Core()


def _name_of(value: Any, known: tuple[str, ...]) -> str:
    """Which of our names an input or output has: OpenVINO also gives it those of what was merged with it."""
    names = [*known, *sorted(name for name in value.names if name.startswith(TAPPED))]
    return next((name for name in names if name in value.names), str(value.any_name))


def calculates(precision: GraphPrecision) -> bool:
    """Whether the processor calculates in that precision: elsewhere OpenVINO quietly takes float32."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return _NEEDED.get(precision, "FP32") in able


def write_ir(graph: bytes, file: Path, *, half: bool = False) -> tuple[Path, Path]:
    """Write an ONNX graph in OpenVINO's own form: `file` (.xml), and beside it the weights (.bin), in float32, or
    `half` of that.
    """
    openvino: Any = require("openvino", "openvino")
    openvino.save_model(_core().read_model(graph), str(file), compress_to_fp16=half)
    return file, file.with_suffix(".bin")
