"""Where networks can be exported to, and where not, and why; torch-free, for the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Target: TypeAlias = Literal["onnx", "openvino", "pt2"]
Layout: TypeAlias = Literal["file", "triton"]


@dataclass(frozen=True, slots=True)
class Row:
    """A target: the endings of its files, the package that runs them, in which precisions, and what goes there."""

    name: str
    endings: tuple[str, ...]
    runtime: str
    precisions: tuple[str, ...]
    goes: str


ROWS = (
    Row(
        "onnx",
        (".emz", ".onnx"),
        "onnxruntime",
        ("fp32", "fp16", "int8"),
        "all but R-CNN and Fast R-CNN, for pictures of any size; those that answer prompts as two graphs, in .emz "
        "alone and not in int8; timm's encoders as far as they can be traced",
    ),
    Row(
        "openvino",
        (".emz", ".xml"),
        "openvino",
        ("fp32", "fp16", "bf16", "int8"),
        "all but R-CNN and Fast R-CNN, for pictures of any size; those that answer prompts as two graphs, in .emz "
        "alone and not in int8; timm's encoders as far as they can be traced",
    ),
    Row("pt2", (".pt2",), "torch", ("fp32",), "as onnx, but none that answers prompts; needs torch"),
    Row(
        "triton",
        (),
        "",
        (),
        "not run here; --layout triton --out models/NAME: its folders, with the ONNX file",
    ),
    Row("tensorrt", (), "", (), "not run here: trtexec --onnx=model.onnx, from --to onnx --out model.onnx"),
    Row(
        "litert",
        (),
        "",
        (),
        "no: litert-torch brings 33 packages, jax among them, for networks of one fixed size; docs/export.md",
    ),
    Row("coreml", (), "", (), "not yet: its runtime is on macOS only, and nothing is called exported that was not run"),
    Row("executorch", (), "", (), "not yet: networks of one fixed size only, no detectors"),
)
"""Every target that people ask for; those without endings are not written."""


def row_of(name: Target) -> Row:
    """The row of a target that is written."""
    return next(row for row in ROWS if row.name == name)
