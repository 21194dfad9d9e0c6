"""Many pictures in one request, whose answers come one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from everymask.errors import ConfigError, EverymaskError
from everymask.serving.bodies import picture_name, read_form, uploads
from everymask.serving.forms import Wanted, read_wanted, to_bytes
from everymask.serving.problems import Problem, problem_of
from everymask.serving.service import Visit, service_of
from everymask.serving.shelf import Job

_MOST_FILES = 1000
_BODY_SECONDS = 600.0


async def batch(request: Request) -> Response:
    """The files of a form: a line of JSON for each, in their order, as soon as it is there (NDJSON).

    It is let in as one picture is. Its pictures then come into the line one after the other, whenever there is room, so
    that they are never late and nobody else's turn comes later than theirs.
    """
    service, wanted = service_of(request), read_wanted(request.query_params, ("model",))
    if wanted.form != "json":
        raise ConfigError("a list of pictures is answered as JSON", hint="leave out format")
    async with AsyncExitStack() as entered:
        visit = await entered.enter_async_context(service.visit(request, request.query_params.get("model")))
        service.line.leave(visit.ticket)
        most = service.settings.max_batch
        form = await entered.enter_async_context(read_form(request, most, _BODY_SECONDS, files=_MOST_FILES))
        files = uploads(form)
        if not files:
            raise Problem(400, "no-file", "the form has no file", hint="curl -F a=@1.jpg -F b=@2.jpg")
        return StreamingResponse(_lines(visit, files, wanted, entered.pop_all()), media_type="application/x-ndjson")


async def _lines(
    visit: Visit, files: list[UploadFile], wanted: Wanted, entered: AsyncExitStack
) -> AsyncIterator[bytes]:
    line = visit.service.line
    ahead: deque[asyncio.Task[dict[str, Any]]] = deque()
    async with entered:
        try:
            for place, file in enumerate(files):
                ahead.append(asyncio.create_task(_one(visit, place, file, wanted)))
                if len(ahead) > line.lanes * line.batch:
                    yield to_bytes(await ahead.popleft()) + b"\n"
            while ahead:
                yield to_bytes(await ahead.popleft()) + b"\n"
        finally:
            for task in ahead:
                task.cancel()


async def _one(visit: Visit, place: int, file: UploadFile, wanted: Wanted) -> dict[str, Any]:
    """What the line of one file says: its result, or why there is none."""
    about = {"index": place, "file": file.filename or ""}
    service, name = visit.service, picture_name(file.filename)
    if (file.size or 0) > service.settings.max_body:
        problem = Problem(413, "too-large", f"the file has more than {service.settings.max_body:,} bytes")
        return {**about, **problem.to_json()}
    ticket = await service.another(visit)
    try:
        found: dict[str, Any] = await visit.calculate_at(ticket, Job(await file.read(), name, wanted.to_json))
    except (Problem, EverymaskError) as error:
        return {**about, **problem_of(error).to_json()}
    finally:
        service.line.leave(ticket)
    return {**found, **about}


ROUTES = [Route("/v1/batch", batch, methods=["POST"])]
