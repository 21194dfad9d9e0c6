"""Sessions with networks that answer prompts: a picture is sent once, then points and boxes until it is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from everymask.errors import ConfigError, unknown
from everymask.serving.bodies import check_length, read_body, read_picture
from everymask.serving.forms import Answer, read_wanted
from everymask.serving.routes.documents import as_object
from everymask.serving.service import service_of
from everymask.serving.sessions import Kept
from everymask.serving.shelf import Job

_MOST_PROMPT = 1 << 20
_MOST_NUMBERS = 4000
_WORDS = ("points", "labels", "boxes", "candidates")


async def create(request: Request) -> Response:
    """Look at one picture, as the body or as the file of a form; what prompts are asked by is `session`."""
    service = service_of(request)
    for name in request.query_params:
        if name not in ("model", "timeout"):
            raise unknown("a parameter", name, ("model", "timeout"))
    client = service.client(request)
    version = service.shelf.slot(request.query_params.get("model")).choose()
    if not version.answers_prompts:
        raise ConfigError(f"{version.name} answers once and takes no prompts", hint="POST /v1/predict asks it")
    work = version.looking
    async with service.visit(request, None, version=version, work=work) as visit:
        data, name = await read_picture(request, service.settings.max_body, visit.body_seconds)
        job = Job(data, name, lambda result, _: result)
        session = await visit.calculate(lambda: version.predictor.session(version.sample(job)))
    kept = service.sessions.add(client, version, session)
    return JSONResponse(_about(kept) | {"size": list(session.size)}, 201)


async def prompt(request: Request) -> Response:
    """What points and boxes point at, in the form that /v1/predict would give it."""
    wanted = read_wanted(request.query_params, ("timeout",))

    def answer(kept: Kept, body: bytes) -> Answer:
        asked = _asked(as_object(body))
        return wanted.answer(kept.prompt(asked), kept.version)

    return _response(await _changed(request, answer, brings=True))


async def undo(request: Request) -> Response:
    """Take back the last prompt: the answer before it, or no objects."""
    wanted = read_wanted(request.query_params, ("timeout",))

    def answer(kept: Kept, _: bytes) -> Answer | None:
        before = kept.undo()
        return None if before is None else wanted.answer(before, kept.version)

    return _response(await _changed(request, answer))


async def reset(request: Request) -> Response:
    """Begin with new objects of the same picture."""
    return _response(await _changed(request, lambda kept, _: kept.reset()))


async def delete(request: Request) -> Response:
    """Forget a session."""
    service = service_of(request)
    service.sessions.remove(request.path_params["session"], service.client(request))
    return Response(status_code=204)


async def _changed(
    request: Request, change: Callable[[Kept, bytes], Answer | None], *, brings: bool = False
) -> Answer | None:
    """What becomes of a change of the session that the address names, made when its turn comes."""
    service = service_of(request)
    kept = service.sessions.find(request.path_params["session"], service.client(request))
    work = kept.version.answering
    async with service.visit(request, None, version=kept.version, work=work) as visit:
        check_length(request, _MOST_PROMPT)
        body = await read_body(request, _MOST_PROMPT, visit.body_seconds) if brings else b""
        found: Answer | None = await visit.calculate(lambda: kept.alone(lambda: change(kept, body)))
    service.sessions.make_room()
    return found


def _response(answer: Answer | None) -> Response:
    return Response(status_code=204) if answer is None else Response(answer.body, 200, None, answer.media_type)


def _about(kept: Kept) -> dict[str, Any]:
    return {"session": kept.name, "model": kept.version.name, "version": kept.version.version, "bytes": kept.nbytes}


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Session.predict`; `ConfigError` for others, and for more numbers than a person would give."""
    for name, value in given.items():
        if name not in _WORDS:
            raise unknown("a prompt", name, _WORDS)
        if name == "candidates" and not isinstance(value, bool):
            raise ConfigError("candidates must be true or false")
        if name != "candidates" and not (value is None or isinstance(value, list)):
            raise ConfigError(f"{name} must be a list of numbers")
    if _count(given) > _MOST_NUMBERS:
        raise ConfigError(f"a prompt has up to {_MOST_NUMBERS:,} numbers", hint="ask in several sessions")
    return given


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 1


ROUTES = [
    Route("/v1/sessions", create, methods=["POST"]),
    Route("/v1/sessions/{session}/prompt", prompt, methods=["POST"]),
    Route("/v1/sessions/{session}/undo", undo, methods=["POST"]),
    Route("/v1/sessions/{session}/reset", reset, methods=["POST"]),
    Route("/v1/sessions/{session}", delete, methods=["DELETE"]),
]
