"""Graphs calculated by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.errors import ConfigError, WeightsError, printable, require
from everymask.runtimes.backend import INPUTS

_ERRORS_ONLY = 3
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeEngine:
    """A graph in ONNX Runtime, on `device` ("auto": the first GPU if this ONNX Runtime can use one, else the CPU).

    `threads` is how many it calculates with; None: as many as there are cores.
    """

    def __init__(self, graph: bytes | Path, *, device: str = "auto", threads: int | None = None) -> None:
        runtime: Any = require("onnxruntime", "runtime")
        providers, self._device = _providers(runtime, device)
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        # Threads that wait in circles for the next layer hold up whoever else wants their core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = runtime.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph, options, providers=providers
            )
        except Exception as error:  # whatever ONNX Runtime says
            raise WeightsError(f"ONNX Runtime cannot load the graph: {printable(error)}") from error
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    @property
    def name(self) -> str:
        """`onnxruntime cpu`, `onnxruntime cuda:0`."""
        return f"onnxruntime {self._device}"

    def __call__(self, images: FloatArray, windows: IntArray) -> Mapping[str, Array]:
        """As `Engine` says."""
        return self.calculate(dict(zip(INPUTS, (images, windows), strict=True)))

    def calculate(self, given: Mapping[str, Array]) -> Mapping[str, Array]:
        """As `Engine` says."""
        found = self._session.run(None, {name: given[name] for name in self._inputs})
        return dict(zip(self._outputs, found, strict=True))


def _providers(runtime: Any, device: str) -> tuple[list[Any], str]:
    """ONNX Runtime's name for the device, with its options, and ours."""
    able = _CUDA in runtime.get_available_providers()
    kind, _, number = device.partition(":")
    if device == "cpu" or (device == "auto" and not able):
        return [_CPU], "cpu"
    if able and kind in ("auto", "cuda") and (number or "0").isdecimal():
        place = int(number or 0)
        return [(_CUDA, {"device_id": place}), _CPU], f"cuda:{place}"
    raise ConfigError(
        f"device {printable(device)!r} cannot be used by this ONNX Runtime, which has {'cuda, ' if able else ''}cpu",
        hint="leave out device" if able else "install onnxruntime-gpu for GPUs, or leave out device",
    )
