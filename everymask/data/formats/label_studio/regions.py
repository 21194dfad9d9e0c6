"""The regions of one annotation in Label Studio: a geometry and the labels that belong to it, by the region's id.

`<PolygonLabels>` and its kin write both into one result; `<Polygon>` with `<Labels>` writes two results of one id.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.data.formats.coco.objects import Place, is_number
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import (
    Drawn,
    box_ring,
    box_shape,
    ellipse_ring,
    from_percent,
    mask_shape,
    ring_shape,
    turned,
)
from everymask.data.formats.label_studio.rle import mask_from_brush
from everymask.data.records import Box, BoxOnly, Polygons, Rle
from everymask.errors import DataError

KINDS = ("polygon", "brush", "ellipse", "rectangle")
_NO_AREA = ("keypoint", "vector")
_FARTHEST = 1e6  # percent


@dataclass(frozen=True, slots=True)
class _Region:
    kind: str
    value: dict[str, Any]
    where: str


def read_regions(results: list[Any], place: Place, *, minimal: bool = False) -> Iterator[Drawn]:
    """The shapes of one annotation; defective ones are told to the log.

    Of JSON-min (`minimal`) each result is the value alone.
    """
    regions: dict[object, _Region] = {}
    labels: dict[object, list[Any]] = {}
    for index, result in enumerate(results):
        where = f"/{index}" if minimal else f"/result/{index}"
        entry = {"value": result, "type": _labels_key(result), **_sizes(result)} if minimal else result
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(value, dict) or not isinstance(entry.get("type"), str):
            if isinstance(entry, dict) and entry.get("type") == "relation":
                continue
            place.error("result", where, "expected an object with type and value", entry)
            continue
        kind, key = entry["type"].removesuffix("labels"), entry.get("id")
        drawn = kind in KINDS or kind in _NO_AREA
        if not isinstance(key, str) or (drawn and key in regions):
            key = index
        found = value.get(entry["type"] if entry["type"].endswith("labels") else "labels")
        if isinstance(found, list) and found:
            labels[key] = found
        if drawn and _fits(entry, where, place):
            regions[key] = _Region(kind, value, where)
        elif not drawn and kind not in ("", "labels"):
            _note_other(kind, where, place)
    for key, region in regions.items():
        shape = _draw(region, labels.get(key, []), place)
        if shape is not None:
            yield shape


def _labels_key(value: Any) -> str | None:
    keys = [key for key in value if key.endswith("labels")] if isinstance(value, dict) else []
    return keys[0] if len(keys) == 1 else None


def _sizes(value: Any) -> dict[str, Any]:
    names = ("original_width", "original_height", "image_rotation")
    return {name: value[name] for name in names if name in value} if isinstance(value, dict) else {}


def _fits(entry: dict[str, Any], where: str, place: Place) -> bool:
    """Whether the size of the picture that the result states, if it does, is the picture's."""
    found = entry.get("original_height"), entry.get("original_width")
    if found not in ((None, None), place.size):
        message = f"expected a region on a picture of {place.size[1]} x {place.size[0]} pixels"
        hint = "the picture was replaced after it was annotated: use the original"
        place.error("picture-size", f"{where}/original_width", message, list(found[::-1]), hint)
        return False
    if entry.get("image_rotation") not in (None, 0):
        message = "{count} regions were drawn on a picture turned on the screen; they are read on the upright one"
        place.issues.warn_shared("image-rotation", message, file=place.file)
    return True


def _note_other(kind: str, where: str, place: Place) -> None:
    if kind in ("bitmask", "mask"):
        hint = "draw with a brush, or export as COCO"
        place.error("shape-type", f"{where}/type", f"expected one of {', '.join(KINDS)}", kind, hint)
        return
    message = f"{{count}} results of the kind {kind} are no shapes, and are left out"
    place.issues.warn_shared(f"no-shape-{kind}", message, file=place.file)


def _draw(region: _Region, labels: list[Any], place: Place) -> Drawn | None:
    if region.kind in _NO_AREA:
        warn_no_area(region.kind, place)
        return None
    if not labels or not isinstance(labels[0], str) or not labels[0].strip():
        message = "expected a label for the region"
        place.error("label-missing", region.where, message, labels, "choose its label, or remove the region")
        return None
    if len(labels) > 1:
        message = "{count} regions have several labels; the first one is taken"
        place.issues.warn_shared("several-labels", message, file=place.file)
    where, value = f"{region.where}/value", region.value
    shape: Polygons | Rle | BoxOnly | None = None
    box: Box | None = None
    match region.kind:
        case "polygon":
            shape = _polygon(value, where, place)
        case "brush":
            shape = _brush(value, where, place)
        case "ellipse":
            shape = _ellipse(value, where, place)
        case "rectangle":
            shape, box = _rectangle(value, where, place)
    return None if shape is None else Drawn(labels[0], shape, f"{place.pointer}{region.where}", box)


def _polygon(value: dict[str, Any], where: str, place: Place) -> Polygons | None:
    points = value.get("points")
    if not isinstance(points, list):
        place.error("point", f"{where}/points", "expected a list of [x, y] in percent", points)
        return None
    for index, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_percent, point)):
            place.error("point", f"{where}/points/{index}", "expected [x, y] in percent", point)
            return None
    if value.get("closed") is False:
        message = "{count} polygons were not closed; they are read as if they were"
        place.issues.warn_shared("polygon-open", message, file=place.file)
    return ring_shape(
        from_percent(np.array(points), place.size) if points else np.zeros((0, 2)), place, f"{where}/points"
    )


def _brush(value: dict[str, Any], where: str, place: Place) -> Rle | None:
    if value.get("format") != "rle" or not isinstance(value.get("rle"), list):
        message = "expected format rle and a list of bytes called rle"
        place.error("rle-counts", where, message, value.get("format"))
        return None
    try:
        mask = mask_from_brush(value["rle"], place.size)
    except DataError as error:
        place.error("rle-counts", f"{where}/rle", error.message, hint=error.hint)
        return None
    return mask_shape(mask, (0, 0), place, f"{where}/rle")


def _ellipse(value: dict[str, Any], where: str, place: Place) -> Polygons | None:
    found = _numbers(value, ("x", "y", "radiusX", "radiusY"), where, place)
    if found is None:
        return None
    x, y, across, down, degrees = found
    if across <= 0 or down <= 0:
        place.error("zero-area", where, "expected an ellipse with two radii", [across, down], "remove it")
        return None
    height, width = place.size
    centre, radii = (x * width / 100, y * height / 100), (across * width / 100, down * height / 100)
    return ring_shape(ellipse_ring(centre, radii, degrees), place, where)


def _rectangle(value: dict[str, Any], where: str, place: Place) -> tuple[Polygons | BoxOnly | None, Box | None]:
    """The rectangle, which turns about its upper left corner."""
    found = _numbers(value, ("x", "y", "width", "height"), where, place)
    if found is None:
        return None, None
    x, y, width, height, degrees = found
    (x1, y1), (x2, y2) = from_percent(np.array([[x, y], [x + width, y + height]]), place.size).tolist()
    if degrees % 360 and x2 > x1 and y2 > y1:
        return ring_shape(turned(box_ring((x1, y1, x2, y2)), degrees, (x1, y1)), place, where), None
    box = box_shape((x1, y1, x2, y2), place, where)
    return (None, None) if box is None else (BoxOnly(), box)


def _numbers(value: dict[str, Any], names: tuple[str, ...], where: str, place: Place) -> list[float] | None:
    """The named numbers, and the rotation in degrees, 0 where none is given."""
    found = [value.get(name) for name in names] + [value.get("rotation") or 0]
    for name, number in zip((*names, "rotation"), found, strict=True):
        if not _is_percent(number):
            place.error("number", f"{where}/{name}", "expected a number", number)
            return None
    return [float(number) for number in found]


def _is_percent(value: object) -> bool:
    return is_number(value) and abs(value) <= _FARTHEST and math.isfinite(value)  # type: ignore[arg-type]
