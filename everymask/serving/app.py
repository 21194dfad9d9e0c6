"""The application: every address that a service has, and how its refusals are said."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from everymask.errors import EverymaskError, printable
from everymask.serving.problems import Problem, problem_of
from everymask.serving.routes import batch, cvat, label_studio, open_inference, own, pages, sessions
from everymask.serving.service import Service
from everymask.serving.watched import Watched

_log = logging.getLogger(__name__)
_ROOMS = (own, batch, sessions, open_inference, label_studio, cvat, pages)


def build_app(service: Service) -> ASGIApp:
    """The service as an ASGI application, which any such server runs; it ends the service's threads when it ends."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    app = Starlette(
        routes=[route for room in _ROOMS for route in room.ROUTES],
        lifespan=lifespan,
        exception_handlers={
            Problem: _refused,
            EverymaskError: _refused,
            HTTPException: _not_found,
            Exception: _failed,
        },
        middleware=_middleware(service),
    )
    app.state.service = service
    return Watched(app, service.counters, service.settings.max_body)


def _middleware(service: Service) -> list[Middleware]:
    if not service.settings.origins:
        return []
    shown = ["x-request-id", "retry-after", "x-model-version"]
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=service.settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=shown,
        )
    ]


async def _refused(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status >= 500 and not isinstance(error, Problem):
        _log.error("failed", exc_info=error, extra={"facts": {"id": request.state.id}})
    return problem.response()


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = printable(request.url.path, 100)
    if error.status_code == 405:
        hint = f"it takes {(error.headers or {}).get('Allow', 'others')}"
        problem = Problem(405, "method", f"{path} does not take {printable(request.method, 20)}", hint=hint)
    else:
        problem = Problem(error.status_code, "no-such-address", f"there is nothing at {path}", hint="/docs lists all")
    problem.headers = dict(error.headers or {})
    return problem.response()


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("failed", exc_info=error, extra={"facts": {"id": request.state.id}})
    return problem_of(error).response()
