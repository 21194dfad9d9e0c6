"""What people look at in a browser."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from everymask.serving import openapi


async def addresses(_: Request) -> Response:
    """The document for programs."""
    return JSONResponse(openapi.document())


async def documented(_: Request) -> Response:
    """The document for people."""
    return HTMLResponse(openapi.page())


ROUTES = [Route("/openapi.json", addresses), Route("/docs", documented)]
