"""What happens around every request: its number, its line in the log, and a body that nobody wanted read to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everymask.errors import printable
from everymask.serving.counters import Counters

access: logging.Logger = logging.getLogger("everymask.serving.access")
_DROPPED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Watched:
    """An application whose requests are counted and logged.

    Where a request is answered before its body was read, the body is first read and thrown away: up to `most` bytes
    and for a few seconds. A client that is still sending would otherwise see a broken connection in place of the
    refusal. One that waits to be asked for its body (`Expect: 100-continue`) is answered at once.
    """

    app: ASGIApp
    counters: Counters
    most: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Watched(self, scope, receive, send)
        scope.setdefault("state", {})
        scope["state"]["id"] = request.id
        try:
            await self.app(scope, request.receive, request.send)
        finally:
            request.told()


class _Watched:
    """One request while it lasts."""

    def __init__(self, around: Watched, scope: Scope, receive: Receive, send: Send) -> None:
        self._around, self._scope, self._receive, self._send = around, scope, receive, send
        self._begun, self._status, self._sent, self._read = time.monotonic(), 0, 0, 0
        self._headers = Headers(scope=scope)
        self._complete = False
        self.id = uuid.uuid4().hex[:16]

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        else:
            self._complete = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            if not await self._dropped():
                headers["connection"] = "close"
        self._sent += len(message.get("body", b""))
        await self._send(message)

    async def _dropped(self) -> bool:
        """Whether nothing of the body is left to come."""
        if self._read == 0 and self._headers.get("expect", "").lower() == "100-continue":
            return self._complete
        try:
            async with asyncio.timeout(_DROPPED_SECONDS):
                while not self._complete and self._read <= self._around.most:
                    await self.receive()
        except TimeoutError:
            pass
        return self._complete

    def told(self) -> None:
        """Count it and write its line."""
        seconds, route = time.monotonic() - self._begun, self._scope.get("route")
        path = getattr(route, "path", "other")
        status = self._status or 499
        self._around.counters.requests[path, status] += 1
        self._around.counters.took("whole", seconds)
        client, model = self._scope.get("client"), self._scope["state"].get("model")
        facts = {
            "id": self.id,
            "method": self._scope["method"],
            "path": printable(self._scope["path"]),
            "status": status,
            "seconds": round(seconds, 4),
            "client": client[0] if client else "",
            "received": self._read,
            "sent": self._sent,
        }
        more = {"model": model.name, "version": model.version} if model else {}
        access.info("request", extra={"facts": {**facts, **more}})


class JsonLines(logging.Formatter):
    """A line of JSON per record: time, level, logger, what happened, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        said = {"time": when, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps({**said, **getattr(record, "facts", {})}, ensure_ascii=False, default=str)
