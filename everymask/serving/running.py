"""Runs a service until it is told to end, and lets it finish what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn

from everymask.errors import MachineError, printable
from everymask.serving.app import build_app
from everymask.serving.service import Service
from everymask.serving.watched import JsonLines

_MOST_HEADERS = 32 << 10
_IDLE_SECONDS = 20
_GRACE = 1.0
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free. `MachineError` where it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise MachineError(
            f"cannot listen on {printable(host)} port {port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another --port, or --host",
        ) from error


def serve(service: Service, listening: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; SIGHUP loads models anew whose files have changed.

    On SIGTERM nobody is let in any more, whoever is inside is answered, and then it returns.
    """
    _log_lines()
    config = uvicorn.Config(
        build_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=_MOST_HEADERS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=int(service.settings.budget + _GRACE) + 1,
    )
    _Server(config, service).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which tells the service that it ends, and then ends as what was asked for and not as a failure."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        wanted = [signal.SIGTERM, signal.SIGINT]
        before = {number: signal.signal(number, self._end) for number in wanted}
        if hasattr(signal, "SIGHUP"):
            reload = lambda *_: loop.call_soon_threadsafe(self._reload)  # noqa: E731
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._service.draining = True
        self.handle_exit(number, frame)

    def _reload(self) -> None:
        self._reloading = asyncio.ensure_future(_reload_all(self._service))


async def _reload_all(service: Service) -> None:
    for name in service.shelf.slots:
        try:
            await service.shelf.reload(name)
        except Exception as error:
            logging.getLogger(__name__).error("not reloaded", extra={"facts": {"model": name, "why": str(error)}})


def _log_lines() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("everymask.serving", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
