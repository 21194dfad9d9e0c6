"""A folder of Triton Inference Server's model repository: the ONNX file in version 1, and the file that describes it.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from everymask.core.labels import Labels
from everymask.errors import ConfigError, MachineError, printable, require

_TYPES = {1: "TYPE_FP32", 7: "TYPE_INT64", 10: "TYPE_FP16", 11: "TYPE_FP64", 6: "TYPE_INT32", 9: "TYPE_BOOL"}
"""Triton's names of ONNX's element types."""
_NAMED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."


def check_repository(out: Path, *, overwrite: bool) -> None:
    """`ConfigError` where `out` cannot be the folder of a model: its name is the model's."""
    if not out.name or any(letter not in _NAMED for letter in out.name):
        raise ConfigError(
            f"the folder is called like the model, in letters, digits, '_', '-' and '.', but out is {printable(out)}",
            hint="for example --layout triton --out models/cells",
        )
    if out.suffix.lower() in (".emz", ".onnx", ".xml", ".pt2"):
        raise ConfigError(
            f"with layout triton out is the model's folder, but got {printable(out)}",
            hint=f"for example --layout triton --out {printable(out.with_suffix(''))}",
        )
    if out.exists() and not (overwrite and (out / "config.pbtxt").is_file()):
        raise ConfigError(f"{printable(out)} is there already", hint="choose another --out, or add --overwrite")


def write_repository(out: Path, graph: bytes, labels: Labels) -> int:
    """Write the folder, whole or not at all; how many bytes are in it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
            made = Path(folder) / "made"
            (made / "1").mkdir(parents=True)
            (made / "1" / "model.onnx").write_bytes(graph)
            (made / "config.pbtxt").write_text(describe(out.name, graph), encoding="utf-8")
            (made / "labels.txt").write_text("".join(f"{name}\n" for name in labels.names), encoding="utf-8")
            size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
            if out.exists():
                shutil.move(out, Path(folder) / "before")
            made.rename(out)
    except OSError as error:
        raise MachineError(f"cannot write {printable(out)}: {error.strerror or error}") from error
    return size


def describe(name: str, graph: bytes) -> str:
    """`config.pbtxt` for an ONNX file: what it takes and gives, each with the number of pictures as its first side."""
    onnx: Any = require("onnx", "export")
    model = onnx.load_from_string(graph)
    parts = [f"name: {json.dumps(name)}", 'platform: "onnxruntime_onnx"', "max_batch_size: 0"]
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        rows = [_value(value, last=place == len(values) - 1) for place, value in enumerate(values)]
        parts += [f"{kind} [", *rows, "]"]
    return "\n".join(parts) + "\n"


def _value(value: Any, *, last: bool) -> str:
    tensor = value.type.tensor_type
    sides = [side.dim_value if side.HasField("dim_value") else -1 for side in tensor.shape.dim]
    said = f"name: {json.dumps(value.name)}, data_type: {_TYPES[tensor.elem_type]}, dims: {sides}"
    return f"  {{ {said} }}{'' if last else ','}"
