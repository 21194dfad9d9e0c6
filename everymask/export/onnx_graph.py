"""The graph in ONNX, which all torch-free runtimes read."""

from __future__ import annotations

from typing import Any

import torch

from everymask.errors import ConfigError, counted, require
from everymask.export.graph import Traced, quiet

OPSET = 20
_MOST_BYTES = 2**31 - 2**20
"""What fits into one ONNX file: it is one message of protocol buffers."""


def to_onnx(traced: Traced) -> bytes:
    """The graph as an ONNX file of opset 20, weights inside; it names no file or folder of the machine that made it.

    `MissingExtra` without onnx and onnxscript, `ConfigError` beyond 2 GB, which one such file cannot hold.
    """
    require("onnx", "export")
    require("onnxscript", "export")
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
    _strip(written.model)
    proto = written.model_proto
    size = int(proto.ByteSize())
    if size > _MOST_BYTES:
        raise ConfigError(f"the network has {counted(size, 'byte')}, but an ONNX file holds 2 GB at most")
    data: bytes = proto.SerializeToString()
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
