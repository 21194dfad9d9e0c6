"""Refusals: a status, what was expected and found, and the cure, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from everymask.errors import ConfigError, DataError, EverymaskError, UnusableHere


class Problem(Exception):
    """Why there is no answer: the HTTP status, a stable word for programs, a sentence and its cure for people."""

    def __init__(
        self, status: int, kind: str, message: str, *, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status: int = status
        self.kind: str = kind
        self.message: str = message
        self.hint: str = hint
        self.headers: dict[str, str] = dict(headers or {})

    def to_json(self) -> dict[str, object]:
        """The same form as that of `--json` on the command line."""
        said = {"kind": self.kind, "message": self.message, "hint": self.hint, "status": self.status}
        return {"error": said}

    def response(self) -> Response:
        """The answer that says it."""
        text = json.dumps(self.to_json(), ensure_ascii=False)
        return Response(text, self.status, self.headers, "application/json")


def problem_of(error: Exception) -> Problem:
    """What the failure of one request is to its client; others' faults are never theirs (500)."""
    match error:
        case Problem():
            return error
        case UnusableHere():
            return Problem(413, "too-large", error.message, hint=error.hint)
        case DataError():
            return Problem(422, "picture", error.message, hint=error.hint)
        case ConfigError():
            return Problem(400, "request", error.message, hint=error.hint)
        case MemoryError():
            return Problem(413, "too-large", "there is not enough memory for this picture", hint="make it smaller")
        case EverymaskError():
            return Problem(500, "failed", error.message, hint=error.hint)
        case _:
            return Problem(
                500, "failed", "the service failed on this request", hint="its log says more, by the x-request-id"
            )
