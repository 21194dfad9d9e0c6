"""The graph in ONNX, which all torch-free runtimes read."""

from __future__ import annotations

from typing import Any

import torch

from everymask.errors import ConfigError, counted, printable, require
from everymask.export.graph import Traced, quiet

OPSET = 20
_NEVER_IN_HALF = {"GridSample"}  # places within a map need their digits
_IN_HALF = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "HardSwish", "HardSigmoid", "MaxPool"}
_MOST_BYTES = 2**31 - 2**20
"""What fits into one ONNX file: it is one message of protocol buffers."""


def to_onnx(traced: Traced) -> bytes:
    """The graph as an ONNX file of opset 20, weights inside; it names no file or folder of the machine that made it.

    `MissingExtra` without onnx and onnxscript, `ConfigError` for what ONNX has no operators for, and beyond 2 GB, which
    one such file cannot hold.
    """
    require("onnx", "export")
    require("onnxscript", "export")
    try:
        with quiet():
            written: Any = torch.onnx.export(
                traced.program,
                dynamo=True,
                input_names=list(traced.inputs),
                output_names=list(traced.outputs),
                opset_version=OPSET,
                optimize=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ConfigError(
            f"the network cannot be written in ONNX: {printable(error)}",
            hint="--to pt2 needs no ONNX; everymask export --list shows what is known to go",
        ) from error
    _strip(written.model)
    proto = written.model_proto
    size = int(proto.ByteSize())
    if size > _MOST_BYTES:
        raise ConfigError(f"the network has {counted(size, 'byte')}, but an ONNX file holds 2 GB at most")
    data: bytes = proto.SerializeToString()
    return data


def in_half(graph: bytes, *, boxes: bool) -> bytes:
    """The graph with weights and layers in float16; what it takes and gives stays float32.

    Where it has `boxes` only layers with weights and what activates them are: coordinates beyond 1024 would lose whole
    pixels.
    """
    tools: Any = require("onnxruntime.transformers.float16", "export")
    onnx: Any = require("onnx", "export")
    model = onnx.load_from_string(graph)
    kept = {*tools.DEFAULT_OP_BLOCK_LIST, *_NEVER_IN_HALF}
    if boxes:
        kept |= {node.op_type for node in model.graph.node} - _IN_HALF
    with quiet():
        half = tools.convert_float_to_float16(model, keep_io_types=True, op_block_list=sorted(kept))
    data: bytes = half.SerializeToString()
    return data


def _strip(model: Any) -> None:
    """Take out what the exporter noted of its own work: lines of source code, and where they stand."""
    model.doc_string = None
    model.metadata_props.clear()
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.doc_string = None
        graph.metadata_props.clear()
        for node in graph:
            node.doc_string = None
            node.metadata_props.clear()
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            value.metadata_props.clear()
            value.doc_string = None
