"""A service in this process, with models that know what they see, and a thread that is held until it may go on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from everymask.core.labels import labels_of
from everymask.infer.predictor import Predictor
from everymask.serving.app import build_app
from everymask.serving.service import Service
from everymask.serving.settings import Settings
from everymask.serving.shelf import Origin, Shelf
from tests.grey_model import STEP, grey_model

LABELS = labels_of(["ground", "road", "sky"])


class Held(Executor):
    """Calculates nothing before `go`; then everything that was submitted, in the calling thread."""

    def __init__(self) -> None:
        self.kept: list[tuple[Future[Any], Any, Sequence[Any]]] = []

    def submit(self, run: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.kept.append((future, run, arguments))
        return future

    def go(self) -> None:
        """Do what was submitted until now."""
        kept, self.kept = self.kept, []
        for future, run, arguments in kept:
            try:
                future.set_result(run(*arguments))
            except Exception as error:
                future.set_exception(error)


def origin(model: Predictor, name: str = "grey", version: str = "1") -> Origin:
    return Origin(name, f"runs/{name}", lambda: model, lambda: version)


def service_with(*models: tuple[str, Predictor], **settings: Any) -> Service:
    """A service with these models, or with one that knows classes by their brightness."""
    asked = Settings(**settings)
    shelf = Shelf(asked.max_pixels)
    for name, model in models or (("grey", grey_model(LABELS)),):
        shelf.add(origin(model, name))
    return Service(asked, shelf)


@contextmanager
def client_of(service: Service, **options: Any) -> Iterator[TestClient]:
    """A client of the service, in whose thread it runs."""
    with TestClient(build_app(service), **options) as client:
        yield client


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


IDS = np.repeat([[0, 1, 1, 2]], 6, axis=0).repeat(3, axis=1)
"""A label map, and the picture in which `grey_model` finds it."""
PICTURE = png(IDS * STEP)
