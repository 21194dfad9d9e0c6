"""A detector for CVAT: what CVAT asks of Nuclio's dashboard, where its serverless functions live.

CVAT_NUCLIO_HOST and CVAT_NUCLIO_PORT of CVAT's server name this service; every model is then one of its functions, for
automatic annotation with masks. As in cvat/apps/lambda_manager/views.py: a mask is the pixels of its box, row by row, 0
or 1, and then the box, whose right and bottom pixels belong to it.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from everymask.infer.result import Result
from everymask.serving.forms import Wanted, polygons_of, read_number
from everymask.serving.routes.documents import decoded, read_json
from everymask.serving.service import service_of
from everymask.serving.shelf import Job, Version

_USUAL_SCORE = 0.5


async def functions(request: Request) -> Response:
    """Every model as a function, by its name."""
    service = service_of(request)
    service.client(request)
    return JSONResponse({name: _function(slot.current) for name, slot in service.shelf.slots.items()})


async def function(request: Request) -> Response:
    """One model as a function."""
    service = service_of(request)
    service.client(request)
    return JSONResponse(_function(service.shelf.slot(request.path_params["name"]).current))


async def invoke(request: Request) -> Response:
    """The objects of one picture, by the model that a header names."""
    async with service_of(request).visit(request, request.headers.get("x-nuclio-function-name")) as visit:
        asked = await read_json(request, visit)
        wanted = Wanted(min_score=read_number(asked, "threshold", _USUAL_SCORE, 1.0))
        data = decoded(asked.get("image"), "image")
        found = await visit.calculate(Job(data, "frame", lambda result, _: _annotations(wanted.sure(result))))
    return JSONResponse(found)


def _function(version: Version) -> dict[str, Any]:
    spec = [{"id": place, "name": name, "type": "mask"} for place, name in enumerate(version.predictor.labels.names)]
    annotations = {
        "name": f"everymask {version.name}",
        "type": "detector",
        "framework": "everymask",
        "spec": json.dumps(spec),
    }
    return {
        "metadata": {"name": version.name, "namespace": "nuclio", "annotations": annotations},
        "spec": {"description": f"{version.predictor.card.spec.__class__.__name__}, version {version.version}"},
        "status": {"state": "ready", "httpPort": 0},
    }


def _annotations(result: Result) -> list[dict[str, Any]]:
    """Objects, or the classes of a label map; without masks as boxes."""
    found = result.segmentation.regions()
    rows = []
    for row, seen in enumerate(found.rows(result.labels)):
        said: dict[str, Any] = {"confidence": str(1.0 if seen.score is None else seen.score), "label": seen.name}
        if found.masks is None:
            rows.append({**said, "type": "rectangle", "points": list(seen.box)})
            continue
        crop, (x1, y1, x2, y2) = found.masks.crop(row), found.masks.windows[row].tolist()
        if not crop.size:
            continue
        outline = max((part[0] for part in polygons_of(found, row)), key=len)
        mask = [*crop.astype(int).ravel().tolist(), x1, y1, x2 - 1, y2 - 1]
        rows.append({**said, "type": "mask", "points": [value for point in outline for value in point], "mask": mask})
    return rows


ROUTES = [
    Route("/api/functions", functions),
    Route("/api/functions/{name}", function),
    Route("/api/function_invocations", invoke, methods=["POST"]),
]
