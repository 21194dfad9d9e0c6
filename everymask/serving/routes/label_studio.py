"""A machine learning backend for Label Studio, which asks it for predictions on tasks.

https://labelstud.io/guide/ml_create; regions as in https://labelstud.io/guide/export (brush, polygon, rectangle).
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from everymask.core.segmentation import InstanceSet
from everymask.data.formats.label_studio.rle import brush_from_mask
from everymask.errors import ConfigError, listed, printable
from everymask.infer.result import Result
from everymask.serving.forms import Wanted, polygons_of
from everymask.serving.problems import Problem
from everymask.serving.routes.documents import decoded, read_json
from everymask.serving.service import service_of
from everymask.serving.settings import Settings
from everymask.serving.shelf import Job

_KINDS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels", "RectangleLabels": "rectanglelabels"}
_USUAL_SCORE = 0.5
_MOST_TASKS = 100


@dataclass(frozen=True, slots=True)
class _Config:
    """What a project labels with: the names of its tags, the picture's key in a task, the kind of regions, labels."""

    control: str
    picture: str
    key: str
    kind: str
    labels: frozenset[str]


async def predict(request: Request) -> Response:
    """Regions for each task."""
    service = service_of(request)
    async with service.visit(request, request.query_params.get("model")) as visit:
        asked = await read_json(request, visit)
        tasks, config = asked.get("tasks"), _config(asked.get("label_config"))
        if not isinstance(tasks, list) or len(tasks) > _MOST_TASKS:
            raise ConfigError(f"expected a list of up to {_MOST_TASKS} tasks")
        unknown = set(visit.version.predictor.labels.names).isdisjoint(config.labels)
        if unknown:
            raise ConfigError(
                f"the project's labels are {listed(sorted(config.labels))}, and the model knows "
                f"{listed(visit.version.predictor.labels.names)}",
                hint="call at least one alike",
            )
        wanted, results = Wanted(min_score=_USUAL_SCORE), []
        for place, task in enumerate(tasks):
            data = await _picture(task, config, service.settings)
            job = Job(data, "task", lambda result, _: _regions(wanted.sure(result), config))
            found = await visit.calculate_at(await service.another(visit) if place else visit.ticket, job)
            scores = [region["score"] for region in found]
            score = sum(scores) / len(scores) if scores else 0.0
            results.append({"result": found, "score": score, "model_version": visit.version.version})
    return JSONResponse({"results": results, "model_version": visit.version.version})


async def setup(request: Request) -> Response:
    """The version that answers."""
    service = service_of(request)
    service.client(request)
    return JSONResponse({"model_version": service.shelf.slot(request.query_params.get("model")).current.version})


async def health(_: Request) -> Response:
    """That it is there."""
    return JSONResponse({"status": "UP", "model_class": "everymask"})


async def webhook(request: Request) -> Response:
    """What Label Studio tells of annotations is not used: this backend does not train."""
    service_of(request).client(request)
    return JSONResponse({}, 201)


def _config(text: object) -> _Config:
    if not isinstance(text, str) or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ConfigError("label_config must be the project's labelling configuration, without a DTD")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"label_config is not XML: {printable(error)}") from error
    for tag, kind in _KINDS.items():
        for control in root.iter(tag):
            name, shown = control.get("name", ""), control.get("toName", "")
            pictures = [image for image in root.iter("Image") if image.get("name") == shown]
            if pictures:
                labels = frozenset(label.get("value", "") for label in control.iter("Label"))
                return _Config(name, shown, pictures[0].get("value", "").lstrip("$"), kind, labels)
    raise ConfigError(f"label_config must have an Image and one of {', '.join(_KINDS)} for it")


async def _picture(task: Any, config: _Config, settings: Settings) -> bytes:
    """The bytes of a task's picture: in the task itself, or at Label Studio if its address is known."""
    data = task.get("data") if isinstance(task, dict) else None
    source = data.get(config.key) if isinstance(data, dict) else None
    if not isinstance(source, str) or not source:
        raise ConfigError(f"each task must have its picture under data.{printable(config.key, 40)}")
    if source.startswith("data:"):
        return decoded(source, f"data.{config.key}")
    base = settings.label_studio
    address = f"{base}{source}" if source.startswith("/") else source
    if not base or not address.startswith(f"{base}/"):
        raise Problem(
            422,
            "address",
            f"pictures come from Label Studio alone, and not from {printable(urlsplit(source).netloc or source, 60)}",
            hint="start the service with --label-studio http://HOST:8080 and LABEL_STUDIO_API_KEY",
        )
    return await asyncio.to_thread(_fetched, address, settings)


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere, with the token in its hand."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetched(address: str, settings: Settings) -> bytes:
    token = settings.label_studio_token
    headers = {"Authorization": f"Token {token}"} if token else {}
    try:
        asked = urllib.request.Request(address, headers=headers)
        with urllib.request.build_opener(_Stays).open(asked, timeout=settings.budget) as answer:
            data: bytes = answer.read(settings.max_body + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise Problem(502, "label-studio", f"the picture cannot be fetched: {printable(error)}") from error
    if len(data) > settings.max_body:
        raise Problem(413, "too-large", f"the picture has more than {settings.max_body:,} bytes")
    return data


def _regions(result: Result, config: _Config) -> list[dict[str, Any]]:
    """Objects, or the classes of a label map, in the project's words."""
    found, (height, width) = result.segmentation.regions(), result.sample.size
    about = {"original_width": width, "original_height": height, "image_rotation": 0}
    regions = []
    for row, seen in enumerate(found.rows(result.labels)):
        if seen.name not in config.labels:
            continue
        for part, value in enumerate(_values(found, row, config.kind, (height, width))):
            regions.append(
                {
                    "id": f"{row}-{part}",
                    "from_name": config.control,
                    "to_name": config.picture,
                    "type": config.kind,
                    "score": 1.0 if seen.score is None else seen.score,
                    "value": {**value, config.kind: [seen.name]},
                    **about,
                }
            )
    return regions


def _values(found: InstanceSet, row: int, kind: str, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """One region for an object; of polygons, which hold one ring, one for each of its parts. Places are percents."""
    height, width = size
    if kind == "brushlabels":
        if found.masks is None:
            raise ConfigError("the model finds boxes, and a brush needs masks", hint="label with RectangleLabels")
        yield {"format": "rle", "rle": brush_from_mask(found.masks.to_dense(row))}
    elif kind == "polygonlabels":
        for part in polygons_of(found, row):
            yield {"points": [[100 * x / width, 100 * y / height] for x, y in part[0]], "closed": True}
    elif kind == "rectanglelabels":
        x1, y1, x2, y2 = found.boxes[row].tolist()
        place = {"x": 100 * x1 / width, "y": 100 * y1 / height}
        yield {**place, "width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height, "rotation": 0}


ROUTES = [
    Route("/label-studio/predict", predict, methods=["POST"]),
    Route("/label-studio/setup", setup, methods=["POST"]),
    Route("/label-studio/health", health),
    Route("/label-studio/", health),
    Route("/label-studio/webhook", webhook, methods=["POST"]),
]
