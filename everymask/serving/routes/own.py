"""Everymask's own addresses: predictions, models, and how the service is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from everymask.serving.bodies import read_picture
from everymask.serving.forms import Answer, read_wanted
from everymask.serving.problems import Problem
from everymask.serving.service import service_of
from everymask.serving.shelf import Job


async def predict(request: Request) -> Response:
    """One picture, as the body or as the file of a form."""
    service, wanted = service_of(request), read_wanted(request.query_params)
    async with service.visit(request, request.query_params.get("model")) as visit:
        data, name = await read_picture(request, service.settings.max_body, visit.body_seconds)
        answer: Answer = await visit.calculate(Job(data, name, wanted.answer))
    version = f"{visit.version.name}@{visit.version.version}"
    return Response(answer.body, 200, {"x-model-version": version}, answer.media_type)


async def models(request: Request) -> Response:
    """All models, the usual one first."""
    service = service_of(request)
    service.client(request)
    rows = []
    for slot in service.shelf.slots.values():
        tried = {"canary": {**slot.canary.to_json(), "share": slot.share}} if slot.canary else {}
        rows.append({**slot.current.to_json(), **tried})
    return JSONResponse({"models": rows, "usual": rows[0]["name"]})


async def reload(request: Request) -> Response:
    """Load a model's file anew where it has changed."""
    service, name = service_of(request), request.path_params["name"]
    service.client(request)
    slot = service.shelf.slot(name)
    changed = await service.shelf.reload(name)
    return JSONResponse({"name": name, "changed": changed, "version": slot.current.version})


async def alive(_: Request) -> Response:
    """200 as long as the service answers at all."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """200 while it takes requests: its models are loaded and tried, and it is not ending."""
    if service_of(request).draining:
        raise Problem(503, "ending", "this service is ending")
    return PlainTextResponse("ready\n")


async def metrics(request: Request) -> Response:
    """For Prometheus."""
    service = service_of(request)
    service.client(request)
    return PlainTextResponse(service.metrics(), media_type="text/plain; version=0.0.4")


ROUTES = [
    Route("/v1/predict", predict, methods=["POST"]),
    Route("/v1/models", models),
    Route("/v1/models/{name}/reload", reload, methods=["POST"]),
    Route("/healthz", alive),
    Route("/readyz", ready),
    Route("/metrics", metrics),
]
