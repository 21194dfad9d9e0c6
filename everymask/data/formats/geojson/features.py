"""One GeoJSON feature (RFC 7946): its outline in pixels, holes included, and its class."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.masks import Masks
from everymask.data.formats.coco.objects import Place, is_number
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, ring_shape
from everymask.data.records import Polygons, Rle

IGNORED = "Ignore*"
"""The class by which QuPath marks regions that count for nothing."""
CROWD = "crowd"
_CLASS_KEYS = ("class", "label", "class_name", "category")
_NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")
_FARTHEST = 1e8


def class_of(properties: Any) -> str | None:
    """The class in a feature's properties: QuPath's classification, else a plain text; None where there is none."""
    found = properties if isinstance(properties, dict) else {}
    named = found.get("classification")
    candidates = [named.get("name") if isinstance(named, dict) else named, *(found.get(key) for key in _CLASS_KEYS)]
    return next((text for text in candidates if isinstance(text, str) and text.strip()), None)


def read_feature(feature: Any, place: Place, field: str, *, classified: bool) -> Drawn | None:
    """The shape of a feature, or None when the log was told why there is none.

    Where no feature of the data set is `classified`, all are of one class.
    """
    found = feature.get("geometry") if isinstance(feature, dict) else None
    geometry = found if isinstance(found, dict) else {}
    kind = geometry.get("type")
    if kind in _NO_AREA:
        warn_no_area(kind, place)
        return None
    where = f"{field}/geometry"
    if kind not in ("Polygon", "MultiPolygon"):
        message = "expected a Polygon or a MultiPolygon"
        place.error("shape-type", f"{where}/type", message, kind, "remove the feature, or export it as a polygon")
        return None
    properties = feature.get("properties")
    label = class_of(properties) if classified else "object"
    if label is None:
        message = "expected a class, as other features have one"
        place.error("label-missing", f"{field}/properties", message, hint="set its classification")
        return None
    shape = _shape(geometry.get("coordinates"), kind, f"{where}/coordinates", place)
    if shape is None:
        return None
    crowd = isinstance(properties, dict) and properties.get(CROWD) is True
    return Drawn(label, shape, f"{place.pointer}{field}", crowd=crowd, ignored=label == IGNORED)


def _shape(coordinates: Any, kind: str, where: str, place: Place) -> Polygons | Rle | None:
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons:
        place.error("point", where, "expected a list of rings", coordinates)
        return None
    parts: list[list[FloatArray]] = []
    for row, rings in enumerate(polygons):
        pointer = where if kind == "Polygon" else f"{where}/{row}"
        if not isinstance(rings, list) or not rings:
            place.error("point", pointer, "expected a list of rings", rings)
            return None
        found = [_ring(ring, f"{pointer}/{index}", place) for index, ring in enumerate(rings)]
        sound = [ring for ring in found if ring is not None]
        if len(sound) < len(rings):
            return None
        parts.append(sound)
    if all(len(rings) == 1 for rings in parts):
        return Polygons(tuple(rings[0] for rings in parts))
    return Rle(Masks.from_parts([parts], place.size).to_rle()[0])


def _ring(points: Any, where: str, place: Place) -> FloatArray | None:
    if not isinstance(points, list):
        place.error("point", where, "expected a list of [x, y]", points)
        return None
    for index, point in enumerate(points):
        pair = point[:2] if isinstance(point, list) and 2 <= len(point) <= 3 else []
        if not pair or not all(is_number(value) and abs(value) <= _FARTHEST for value in pair):
            place.error("point", f"{where}/{index}", "expected [x, y] in pixels", point)
            return None
    ring = np.array([point[:2] for point in points], np.float64).reshape(-1, 2)
    closed = len(ring) > 3 and bool((ring[0] == ring[-1]).all())
    shape = ring_shape(ring[:-1] if closed else ring, place, where)
    return None if shape is None else shape.rings[0]
