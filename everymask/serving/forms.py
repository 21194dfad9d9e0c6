"""A result in the form that a client asks for."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from everymask.core.arrays import ByteArray
from everymask.core.forms.plain import map_to_json
from everymask.core.rows import shortest
from everymask.core.segmentation import InstanceSet
from everymask.data.formats.drawn.writing import Piece
from everymask.data.formats.geojson.files import to_feature
from everymask.errors import ConfigError, printable, unknown
from everymask.infer.result import Result
from everymask.results.writing_instances import coco_results
from everymask.serving.shelf import Version
from everymask.tasks.table import task_of

Form: TypeAlias = Literal["json", "png", "overlay", "coco", "geojson"]
Masks: TypeAlias = Literal["rle", "polygons", "both", "none"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a response and what it is."""

    body: bytes
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for: the form, how JSON says masks, and from which score on objects count."""

    form: Form = "json"
    masks: Masks = "rle"
    min_score: float = 0.0

    def answer(self, result: Result, version: Version) -> Answer:
        """The result in that form; `DataError` where it cannot be had, as a map of boxes without masks."""
        sure = self.sure(result)
        match self.form:
            case "json":
                return Answer(to_bytes({**self._plain(sure), "model": version.name, "version": version.version}))
            case "png":
                return Answer(base64.b64decode(map_to_json(sure.to_ids())["png"]), "image/png")
            case "overlay":
                return Answer(_png(sure.draw()), "image/png")
            case "coco":
                return Answer(to_bytes(_coco(sure)))
            case "geojson":
                return Answer(to_bytes(_geojson(sure)), "application/geo+json")

    def sure(self, result: Result) -> Result:
        """The result without what is less sure than asked for."""
        found = task_of(result.segmentation).keep_sure(result.segmentation, self.min_score)
        return replace(result, segmentation=found)

    def to_json(self, result: Result, version: Version) -> dict[str, Any]:
        """The JSON form as a value, for those who put more into it."""
        return {**self._plain(self.sure(result)), "model": version.name, "version": version.version}

    def _plain(self, result: Result) -> dict[str, Any]:
        whole = result.to_json()
        if self.masks == "rle":
            return whole
        whole.pop("map", None)
        whole.pop("segments", None)
        return {**whole, "objects": _objects(result, self.masks)}


def read_wanted(query: Mapping[str, str], others: tuple[str, ...] = ("model", "timeout")) -> Wanted:
    """What the query of an address asks for; `ConfigError` for words that it does not have, and what they may be."""
    for name in query:
        if name not in (*others, "format", "masks", "min_score"):
            raise unknown("a parameter", name, ("format", "masks", "min_score", *others))
    form, masks = query.get("format", "json"), query.get("masks", "rle")
    if form not in get_args(Form):
        raise unknown("format", form, get_args(Form))
    if masks not in get_args(Masks):
        raise unknown("masks", masks, get_args(Masks))
    return Wanted(form, masks, read_number(query, "min_score", 0.0, 1.0))  # type: ignore[arg-type]


def read_number(query: Mapping[str, Any], name: str, usual: float, most: float) -> float:
    """A number from 0 to `most`; `ConfigError` for anything else."""
    given = query.get(name, usual)
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = -1.0
    if isinstance(given, bool) or not 0 <= value <= most:
        raise ConfigError(f"{name} must be a number from 0 to {most:g}, but got {printable(repr(given), 60)}")
    return value


def to_bytes(value: object) -> bytes:
    """JSON as short as it can be written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def polygons_of(found: InstanceSet, row: int) -> list[list[list[list[float]]]]:
    """The parts of an object, each its outer ring and then its holes, xy along pixel edges; without a mask its box."""
    if found.masks is not None:
        return [[ring.tolist() for ring in part] for part in found.masks.to_polygons(row)]
    x1, y1, x2, y2 = (shortest(value) for value in found.boxes[row])
    return [[[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]]]


def _objects(result: Result, masks: Masks) -> list[dict[str, Any]]:
    """A row for each object, or for each class of a label map."""
    found = result.segmentation.regions()
    entries: list[dict[str, Any]] = found.to_json(result.labels, scores=True)["objects"]
    for row, (entry, seen) in enumerate(zip(entries, found.rows(result.labels), strict=True)):
        entry["area"] = seen.area
        if masks in ("polygons", "both"):
            entry["polygons"] = polygons_of(found, row)
        if masks in ("polygons", "none"):
            entry.pop("mask", None)
    return entries


def _coco(result: Result) -> dict[str, Any]:
    """A whole file of COCO's form for one picture; classes of a label map are objects."""
    found = result.segmentation.regions()
    height, width = result.sample.size
    entries = coco_results(found, found.rows(result.labels), 1, result.sample.size)
    return {
        "images": [{"id": 1, "file_name": result.id, "height": height, "width": width}],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(result.labels.names)],
        "annotations": [{"id": number, "iscrowd": 0, **entry} for number, entry in enumerate(entries, start=1)],
    }


def _geojson(result: Result) -> dict[str, Any]:
    """Features as QuPath reads them, whose coordinates are pixels: x to the right, y downwards."""
    found, labels = result.segmentation.regions(), result.labels
    features = []
    for row, class_id in enumerate(found.class_ids.tolist()):
        if found.masks is None:
            shape: dict[str, Any] = {"rings": tuple(np.array(polygons_of(found, row)[0]))}
        else:
            x, y = found.masks.windows[row, :2].tolist()
            shape = {"crop": found.masks.crop(row), "corner": (x, y)}
            if not shape["crop"].size:
                continue
        piece = Piece(labels.names[class_id], False, row, **shape)
        feature = to_feature(piece, labels)
        if found.scores is not None:
            feature["properties"]["measurements"] = {"score": shortest(found.scores[row])}
        features.append(feature)
    return {"type": "FeatureCollection", "features": features}


def _png(pixels: ByteArray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
