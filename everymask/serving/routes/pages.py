"""What people look at in a browser; it loads nothing from elsewhere, and its headers hold it to that."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from everymask.serving import openapi
from everymask.serving.problems import Problem

_FOLDER = Path(__file__).parents[1] / "page"
_KINDS = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def page(request: Request) -> Response:
    """The page where pictures are dropped, and its two files."""
    name = request.path_params.get("name", "index.html")
    if name not in _KINDS:
        raise Problem(404, "no-such-address", "the page has no such file", hint="/docs lists all")
    return Response((_FOLDER / name).read_text("utf-8"), 200, _HEADERS, _KINDS[name])


async def addresses(_: Request) -> Response:
    """The document for programs."""
    return JSONResponse(openapi.document())


async def documented(_: Request) -> Response:
    """The document for people."""
    return HTMLResponse(openapi.page())


ROUTES = [
    Route("/", page),
    Route("/page/{name}", page),
    Route("/openapi.json", addresses),
    Route("/docs", documented),
]
