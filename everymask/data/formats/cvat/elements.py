"""One shape in CVAT's XML: `<polygon>`, `<box>`, `<ellipse>` or `<mask>`, checked and made into what it covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.forms.rle import check_runs
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, box_ring, box_shape, ellipse_ring, mask_shape, ring_shape, turned
from everymask.data.records import Box, BoxOnly, Polygons, Rle
from everymask.errors import DataError

CROWD = "is_crowd"
"""The attribute by which CVAT's own COCO format marks groups of objects."""
_NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
_FARTHEST = 1e8


@dataclass(frozen=True, slots=True)
class Marked:
    """An element that stands for a shape, where it stands below its picture's place, and its label."""

    element: Element
    field: str
    label: str


def read_element(marked: Marked, place: Place) -> Drawn | None:
    """The shape, or None when the log was told why there is none: a defect, or a kind that covers no area."""
    element, field = marked.element, marked.field
    if element.tag in _NO_AREA:
        warn_no_area(element.tag, place)
        return None
    if element.tag not in ("polygon", "box", "ellipse", "mask"):
        message = "expected polygon, box, ellipse or mask"
        place.error("shape-type", field, message, element.tag, "remove the element, or draw an outline")
        return None
    if not marked.label.strip():
        place.error("label-missing", field, "expected a label", hint="choose a label in CVAT, or remove the shape")
        return None
    shape: Polygons | Rle | BoxOnly | None = None
    box: Box | None = None
    match element.tag:
        case "polygon":
            points = _points(element, field, place)
            shape = None if points is None else ring_shape(points, place, field)
        case "box":
            shape, box = _box(element, field, place)
        case "ellipse":
            shape = _ellipse(element, field, place)
        case "mask":
            shape = _mask(element, field, place)
    if shape is None:
        return None
    group = element.get("group_id", "0").strip()
    crowd = any(found.get("name") == CROWD and _is_true(found.text) for found in element.iterfind("attribute"))
    where = f"{place.pointer}{field}"
    return Drawn(marked.label, shape, where, box, crowd, group if group not in ("", "0") else None)


def mask_attributes(crop: BoolArray, corner: tuple[int, int]) -> dict[str, str]:
    """What `<mask>` says of a crop [h, w] at `corner` (x, y): its window, and runs row by row, zeros first."""
    flat = crop.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    runs = [0, *runs] if flat[0] else runs
    height, width = crop.shape
    window = {"left": corner[0], "top": corner[1], "width": width, "height": height}
    return {"rle": ", ".join(map(str, runs)), **{name: str(value) for name, value in window.items()}}


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")


def _number(element: Element, name: str, field: str, place: Place, usual: str | None = None) -> float | None:
    text = element.get(name, usual)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) <= _FARTHEST:
        place.error("number", f"{field}/@{name}", "expected a number of pixels", text)
        return None
    return value


def _numbers(element: Element, names: tuple[str, ...], field: str, place: Place) -> list[float] | None:
    found = [_number(element, name, field, place) for name in names]
    known = [value for value in found if value is not None]
    return known if len(known) == len(names) else None


def _points(element: Element, field: str, place: Place) -> FloatArray | None:
    pairs = (element.get("points") or "").strip().rstrip(";").split(";")
    points = []
    for pair in pairs:
        try:
            x, y = (float(value) for value in pair.split(","))
        except ValueError:
            x, y = math.nan, math.nan
        if not (abs(x) <= _FARTHEST and abs(y) <= _FARTHEST):
            place.error("point", f"{field}/@points", "expected x,y;x,y;...", pair)
            return None
        points.append((x, y))
    return np.array(points, np.float64)


def _box(element: Element, field: str, place: Place) -> tuple[Polygons | BoxOnly | None, Box | None]:
    sides = _numbers(element, ("xtl", "ytl", "xbr", "ybr"), field, place)
    degrees = _number(element, "rotation", field, place, "0")
    if sides is None or degrees is None:
        return None, None
    x1, y1, x2, y2 = sides
    if degrees % 360 and x2 > x1 and y2 > y1:
        corners = turned(box_ring((x1, y1, x2, y2)), degrees, ((x1 + x2) / 2, (y1 + y2) / 2))
        return ring_shape(corners, place, field), None
    box = box_shape((x1, y1, x2, y2), place, field)
    return (None, None) if box is None else (BoxOnly(), box)


def _ellipse(element: Element, field: str, place: Place) -> Polygons | None:
    found = _numbers(element, ("cx", "cy", "rx", "ry"), field, place)
    degrees = _number(element, "rotation", field, place, "0")
    if found is None or degrees is None:
        return None
    x, y, width, height = found
    if width <= 0 or height <= 0:
        place.error("zero-area", field, "expected an ellipse with two radii", found, "remove it or draw it anew")
        return None
    return ring_shape(ellipse_ring((x, y), (width, height), degrees), place, field)


def _mask(element: Element, field: str, place: Place) -> Rle | None:
    found = _numbers(element, ("left", "top", "width", "height"), field, place)
    if found is None:
        return None
    x, y, width, height = found
    size = (int(height), int(width))
    if any(value % 1 for value in found) or not (0 < height <= place.size[0] and 0 < width <= place.size[1]):
        message = "expected the mask's window as whole numbers, no larger than the picture"
        place.error("mask-size", field, message, found)
        return None
    try:
        runs: IntArray = np.array([int(run) for run in (element.get("rle") or "").split(",")], np.int64)
        check_runs(runs, size)
    except (ValueError, OverflowError, DataError) as error:
        message = error.message if isinstance(error, DataError) else "expected run-lengths as whole numbers with commas"
        place.error("rle-counts", f"{field}/@rle", message, element.get("rle"))
        return None
    crop = np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(size)
    return mask_shape(crop, (int(x), int(y)), place, field)
