"""JSON that a client sends, and the pictures inside it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from starlette.requests import Request

from everymask.errors import ConfigError, printable
from everymask.serving.bodies import read_body
from everymask.serving.service import Visit

_MORE = 1 << 20


async def read_json(request: Request, visit: Visit) -> dict[str, Any]:
    """The body as a JSON object; `ConfigError` where it is none, `Problem` as in `read_body`.

    A picture in base64 takes a third more than it is, and there may be something around it.
    """
    most = visit.service.settings.max_body
    return as_object(await read_body(request, most + most // 3 + _MORE, visit.body_seconds))


def as_object(data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; `ConfigError` where there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the body is no JSON: {printable(error)}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"expected a JSON object, but got {printable(type(value).__name__)}")
    return value


def decoded(text: object, what: str) -> bytes:
    """The bytes of a picture in base64, perhaps as a data address; `ConfigError` where it is neither."""
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{what} must be a picture in base64, but got {printable(repr(text), 60)}")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{what} must be a picture in base64: {error}") from error
