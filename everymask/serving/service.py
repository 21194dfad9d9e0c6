"""One service: its models, its line, what it counts, and the way of a request through them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from everymask.errors import ConfigError
from everymask.serving.counters import Counters, resident_bytes
from everymask.serving.forms import read_number
from everymask.serving.line import Busy, Late, Line, Ticket, Work
from everymask.serving.problems import Problem
from everymask.serving.sessions import Sessions
from everymask.serving.settings import Settings
from everymask.serving.shelf import Job, Shelf, Version

_ON_A_GPU = 8
_BODY_SHARE = 0.5
"""Of the time that a client waits, what its body may take to arrive: it holds a place in the line meanwhile."""


@dataclass(eq=False)
class Service:
    """What all requests share. `draining`: it was asked to end, takes nobody any more and finishes what it has."""

    settings: Settings
    shelf: Shelf
    counters: Counters = field(default_factory=Counters)
    draining: bool = False
    line: Line = field(init=False)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        if not self.shelf.slots:
            raise ConfigError("a service needs at least one model")
        executor, lanes, batch = _threads(self.shelf.slot(None).current, self.settings)
        waited, self.sessions = self._waited, Sessions(self.settings.max_sessions)
        self.line = Line(executor, lanes, batch, waited, self.counters.calculated)

    def _waited(self, seconds: float) -> None:
        self.counters.took("waiting", seconds)

    def close(self) -> None:
        """End its threads."""
        self.line.executor.shutdown(wait=False, cancel_futures=True)

    def client(self, request: Request) -> str:
        """Who asks: the holder of the key, or the address; `Problem` (401) where keys are wanted and none fits."""
        host = request.client.host if request.client else "unknown"
        if not self.settings.keys:
            return host
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Label Studio knows only passwords, of whatever user.
        given = _password(given) if scheme.lower() == "basic" else given
        given = request.headers.get("x-api-key", given).strip()
        found = ""
        for name, key in self.settings.keys.items():
            if hmac.compare_digest(key.encode(), given.encode("utf-8", "replace")):
                found = name
        if not found:
            raise Problem(
                401,
                "key",
                "this service wants a key" if not given else "the key is none of this service's",
                hint="send it as the header Authorization: Bearer KEY, or x-api-key: KEY",
                headers={"www-authenticate": "Bearer"},
            )
        return found

    def allowed(self, request: Request) -> float:
        """For how many seconds this client waits; `ConfigError` where it says something else than a number."""
        return read_number(request.query_params, "timeout", self.settings.budget, 3600) or self.settings.budget

    @asynccontextmanager
    async def visit(
        self, request: Request, model: str | None, *, version: Version | None = None, work: Work | None = None
    ) -> AsyncIterator[Visit]:
        """A place in the line from the arrival of a request, before its body is read, until its answer.

        It is answered by `model`, or by a `version` that is chosen already, whose `work` the line reckons with.
        `Problem`: 503 where the answer would come too late, or where the service ends.
        """
        client = self.client(request)
        version = self.shelf.slot(model).choose() if version is None else version
        allowed = min(self.allowed(request), self.settings.budget)
        if self.draining:
            self.counters.refused["ending"] += 1
            raise Problem(503, "ending", "this service is ending", headers={"retry-after": "1", "connection": "close"})
        try:
            ticket = self.line.admit(client, version if work is None else work, allowed)
        except Busy as busy:
            self.counters.refused["busy"] += 1
            raise Problem(
                503,
                "busy",
                f"the line is too long to answer within {allowed:g} s",
                hint=f"try again in {busy.retry_after} s",
                headers={"retry-after": str(busy.retry_after)},
            ) from None
        request.state.model = version
        try:
            yield Visit(self, request, version, ticket, allowed)
        finally:
            self.line.leave(ticket)

    async def another(self, visit: Visit) -> Ticket:
        """A place for one more picture of a visit that brings several: whenever there is room."""
        return await self.line.admit_patiently(visit.ticket.client, visit.version, visit.allowed)

    def metrics(self) -> str:
        """All that is counted and measured, for Prometheus."""
        gauges = {
            "everymask_inside": float(self.line.inside),
            "everymask_waiting": float(self.line.waiting),
            "everymask_sessions": float(len(self.sessions)),
            "everymask_session_bytes": float(self.sessions.nbytes),
            "process_resident_memory_bytes": float(resident_bytes()),
        }
        return self.counters.text(gauges, [(each.name, each.version) for each in self.shelf.versions()])


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that was let in: who answers it, its place, and for how many seconds its client waits."""

    service: Service
    request: Request
    version: Version
    ticket: Ticket
    allowed: float

    @property
    def body_seconds(self) -> float:
        """How long the body may take to arrive."""
        return self.allowed * _BODY_SHARE

    async def calculate(self, job: Job | Callable[[], Any]) -> Any:
        """What `job.finish` makes of its result, or the job itself gives; the body must have been read.

        `Problem`: 504 where its turn did not come in time, 499 where the client has left; else what predicting raises.
        """
        return await self.calculate_at(self.ticket, job, self._left)

    async def calculate_at(
        self, ticket: Ticket, job: Job | Callable[[], Any], left: Callable[[], Awaitable[None]] | None = None
    ) -> Any:
        """The same at another place in the line; `left` ends when the client has left."""
        line, counters = self.service.line, self.service.counters
        answer = line.submit(ticket, job)
        gone = asyncio.ensure_future(left()) if left else None
        try:
            waiting: set[asyncio.Future[Any]] = {answer} | ({gone} if gone else set())
            wait = max(0.0, ticket.deadline - line.clock()) if ticket.deadline < float("inf") else None
            done, _ = await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if not done and ticket.running:  # it is late by no more than one calculation, and still of use
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if answer in done:
                found = answer.result()
                counters.pictures[self.version.name, self.version.version] += 1
                return found
            if gone in done:
                counters.refused["gone"] += 1
                raise Problem(499, "gone", "the client left before it was answered")
            raise Late
        except Late:
            counters.refused["late"] += 1
            raise Problem(
                504,
                "late",
                f"its turn did not come within {self.allowed:g} s",
                hint="try again",
                headers={"retry-after": "1"},
            ) from None
        finally:
            line.leave(ticket)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # looked at, so that asyncio does not complain of it
            if gone is not None:
                gone.cancel()

    async def _left(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service


def _threads(version: Version, settings: Settings) -> tuple[Executor, int, int]:
    """Threads for the line, how many there are, and how many pictures each calculates at once."""
    backend = version.predictor.backend
    on_processor = backend.device.rpartition(" ")[2] == "cpu"  # a bundle says its runtime before it
    batch = settings.batch or (1 if on_processor else _ON_A_GPU)
    if settings.workers is None and backend.lanes > 1:
        return backend.open_lanes(), backend.lanes, batch
    # On a GPU one picture is read while another is calculated.
    workers = settings.workers or (1 if on_processor else min(2, os.cpu_count() or 1))
    return ThreadPoolExecutor(workers), workers, batch


def _password(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
