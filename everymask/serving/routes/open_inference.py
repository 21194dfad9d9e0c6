"""The Open Inference Protocol, version 2 (KServe, Triton): health, metadata and `infer` over HTTP.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import io
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from PIL import Image
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import everymask
from everymask.errors import ConfigError, EverymaskError, printable
from everymask.infer.result import Result
from everymask.serving.bodies import read_body
from everymask.serving.problems import Problem, problem_of
from everymask.serving.routes.documents import as_object, decoded
from everymask.serving.service import service_of
from everymask.serving.shelf import Job

_INPUT = {"name": "image", "datatype": "BYTES", "shape": [1]}
_OUTPUTS: dict[str, tuple[str, list[int]]] = {
    "boxes": ("FP32", [-1, 4]),
    "class_ids": ("INT64", [-1]),
    "scores": ("FP32", [-1]),
    "masks": ("BYTES", [-1]),
    "size": ("INT64", [2]),
}
_LENGTH = 4

Endpoint = Callable[[Request], Awaitable[Response]]


def _said_as_text(endpoint: Endpoint) -> Endpoint:
    """The same endpoint, whose refusals are a text under "error", as the protocol has them."""

    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (Problem, EverymaskError) as error:
            problem = problem_of(error)
            said = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
            return JSONResponse({"error": said}, problem.status, problem.headers)

    return answered


@_said_as_text
async def server(_: Request) -> Response:
    """What this server is."""
    return JSONResponse({"name": "everymask", "version": everymask.__version__, "extensions": ["binary_tensor_data"]})


@_said_as_text
async def live(_: Request) -> Response:
    """Whether it lives."""
    return JSONResponse({"live": True})


@_said_as_text
async def ready(request: Request) -> Response:
    """Whether it takes requests; of a model, whether there is one of that name."""
    service = service_of(request)
    if "name" in request.path_params:
        service.shelf.slot(request.path_params["name"])
    if service.draining:
        raise Problem(503, "ending", "this service is ending")
    return JSONResponse({"ready": True})


@_said_as_text
async def model(request: Request) -> Response:
    """What a model takes and gives."""
    service = service_of(request)
    service.client(request)
    slot = service.shelf.slot(request.path_params["name"])
    outputs = [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in _OUTPUTS.items()]
    return JSONResponse(
        {
            "name": slot.current.name,
            "versions": [slot.current.version],
            "platform": "everymask",
            "inputs": [_INPUT],
            "outputs": outputs,
            "parameters": {"classes": list(slot.current.predictor.labels.names)},
        }
    )


@_said_as_text
async def infer(request: Request) -> Response:
    """One picture: the bytes of its file, or its pixels [H, W], [H, W, C] or [1, H, W, C] as UINT8."""
    service, name = service_of(request), request.path_params["name"]
    async with service.visit(request, name) as visit:
        most = service.settings.max_body
        asked, binary = _parts(request, await read_body(request, 4 * most, visit.body_seconds))
        data = _picture(asked, binary, service.settings.max_pixels)
        wanted = _wanted(asked)
        outputs = await visit.calculate(Job(data, "picture", lambda result, _: _tensors(result, wanted)))
    answer = {"model_name": visit.version.name, "model_version": visit.version.version, "outputs": outputs}
    if isinstance(asked.get("id"), str):
        answer["id"] = asked["id"]
    return JSONResponse(answer)


def _parts(request: Request, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the bytes behind it (the extension for binary tensors)."""
    length = request.headers.get("inference-header-content-length")
    if length is None:
        return as_object(body), b""
    if not length.isdecimal() or int(length) > len(body):
        raise ConfigError(f"inference-header-content-length must be up to {len(body)}, but got {printable(length, 40)}")
    return as_object(body[: int(length)]), body[int(length) :]


def _picture(asked: dict[str, Any], binary: bytes, most: int) -> bytes:
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ConfigError("expected one input, a tensor with one picture", hint="ask again for each further picture")
    tensor = inputs[0]
    parameters = tensor.get("parameters")
    packed = isinstance(parameters, dict) and "binary_data_size" in parameters
    match tensor.get("datatype"):
        case "BYTES" if packed:
            if len(binary) < _LENGTH or struct.unpack("<I", binary[:_LENGTH])[0] != len(binary) - _LENGTH:
                raise ConfigError("expected one picture, its length in 4 bytes before it")
            return binary[_LENGTH:]
        case "BYTES":
            values = tensor.get("data")
            if not isinstance(values, list) or len(values) != 1:
                raise ConfigError("expected the data of one picture, a text in base64")
            return decoded(values[0], "data[0]")
        case "UINT8":
            return _encoded(tensor, binary if packed else None, most)
        case other:
            raise ConfigError(f"an input must be BYTES or UINT8, but got {printable(repr(other), 60)}")


def _encoded(tensor: dict[str, Any], binary: bytes | None, most: int) -> bytes:
    """Pixels as a PNG, which is read as every other picture is."""
    try:
        shape = [int(side) for side in tensor["shape"]]
        shape = shape[1:] if len(shape) == 4 and shape[0] == 1 else shape
        if (
            len(shape) not in (2, 3)
            or min(shape) < 1
            or shape[0] * shape[1] > most
            or (shape[2:] or [1])[0] not in (1, 3)
        ):
            raise ConfigError(f"expected pixels [H, W], [H, W, 1] or [H, W, 3], but the shape is {shape}")
        flat = np.frombuffer(binary, np.uint8) if binary is not None else np.array(tensor["data"], np.uint8).ravel()
        pixels = flat.reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"the pixels do not fit their shape: {printable(error)}") from error
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(
        buffer, "PNG", compress_level=1
    )
    return buffer.getvalue()


def _wanted(asked: dict[str, Any]) -> list[str]:
    outputs = asked.get("outputs")
    if outputs is None:
        return list(_OUTPUTS)
    names = (
        [each.get("name") if isinstance(each, dict) else None for each in outputs] if isinstance(outputs, list) else []
    )
    if not names or not all(name in _OUTPUTS for name in names):
        raise ConfigError(f"outputs must be some of {', '.join(_OUTPUTS)}, but got {printable(repr(outputs), 100)}")
    return [str(name) for name in names]


def _tensors(result: Result, wanted: list[str]) -> list[dict[str, Any]]:
    """Objects, or the classes of a label map, as tensors; masks as COCO's compressed run lengths."""
    found = result.segmentation.regions()
    values: dict[str, list[Any]] = {
        "boxes": found.boxes.ravel().tolist(),
        "class_ids": found.class_ids.tolist(),
        "scores": ([1.0] * len(found)) if found.scores is None else found.scores.tolist(),
        "masks": [] if found.masks is None else [counts.decode("ascii") for counts in found.masks.to_rle()],
        "size": list(result.sample.size),
    }
    shapes = {name: [len(values[name])] for name in values} | {"boxes": [len(found), 4]}
    return [
        {"name": name, "datatype": _OUTPUTS[name][0], "shape": shapes[name], "data": values[name]} for name in wanted
    ]


_MODEL = "/v2/models/{name}"
ROUTES = [
    Route("/v2", server),
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    Route(_MODEL, model),
    Route(f"{_MODEL}/ready", ready),
    Route(f"{_MODEL}/infer", infer, methods=["POST"]),
]
