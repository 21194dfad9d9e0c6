"""The objects in one of Supervisely's annotation files, and what they cover.

Its numbers are pixels, not places between them: a rectangle includes both corners, and a polygon the pixels on which
its edges lie, as OpenCV's `fillPoly` paints them, which is what Supervisely's own SDK does.
"""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image

from everymask.core.arrays import BoolArray, FloatArray
from everymask.data.formats.coco.objects import Place, is_number
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, box_shape, lies_inside, mask_shape
from everymask.data.records import Box, BoxOnly, Rle

_NO_AREA = ("point", "line", "graph", "cuboid", "cuboid_2d")
_FARTHEST = 1e6
_MOST_BYTES = 1 << 28


def read_object(entry: Any, place: Place, field: str) -> Drawn | None:
    """The shape of an entry of `objects`, or None when the log was told why there is none."""
    kind = entry.get("geometryType") if isinstance(entry, dict) else None
    if kind in _NO_AREA:
        warn_no_area(kind, place)
        return None
    if kind not in ("polygon", "bitmap", "alpha_mask", "rectangle"):
        message = "expected polygon, bitmap, alpha_mask or rectangle"
        place.error("shape-type", f"{field}/geometryType", message, kind, "export the object as a bitmap")
        return None
    label = entry.get("classTitle")
    if not isinstance(label, str) or not label.strip():
        place.error("label-missing", f"{field}/classTitle", "expected the title of a class", label)
        return None
    shape: Rle | BoxOnly | None = None
    box: Box | None = None
    match kind:
        case "polygon":
            shape = _polygon(entry.get("points"), f"{field}/points", place)
        case "rectangle":
            box = _rectangle(entry.get("points"), f"{field}/points", place)
            shape = None if box is None else BoxOnly()
        case _:
            shape = _bitmap(entry.get(kind), f"{field}/{kind}", place)
    return None if shape is None else Drawn(label, shape, f"{place.pointer}{field}", box)


def encode_bitmap(crop: BoolArray) -> str:
    """A crop as Supervisely's `data`: a PNG of two colours, deflated once more, in base64."""
    image = Image.fromarray(crop.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    stream = io.BytesIO()
    image.save(stream, format="PNG", transparency=0, bits=1)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode("ascii")


def _ring(points: Any, field: str, place: Place) -> FloatArray | None:
    if not isinstance(points, list):
        place.error("point", field, "expected a list of [x, y]", points)
        return None
    for index, point in enumerate(points):
        pair = point if isinstance(point, list) and len(point) == 2 else []
        if not pair or not all(is_number(value) and abs(value) <= _FARTHEST for value in pair):
            place.error("point", f"{field}/{index}", "expected [x, y] in pixels", point)
            return None
    return np.array(points, np.float64).reshape(-1, 2)


def _polygon(points: Any, field: str, place: Place) -> Rle | None:
    """The pixels of the exterior without those of the interiors."""
    found = points if isinstance(points, dict) else {}
    holes = found.get("interior") or []
    outer = _ring(found.get("exterior"), f"{field}/exterior", place)
    inner = [_ring(hole, f"{field}/interior/{row}", place) for row, hole in enumerate(holes)]
    rings = [np.rint(ring).astype(np.int32) for ring in inner if ring is not None]
    if outer is None or len(rings) < len(holes):
        return None
    if len(outer) < 3 or any(len(ring) < 3 for ring in rings):
        message = "expected at least 3 points for an outline"
        place.error("point-count", field, message, hint="remove the outline or draw it again")
        return None
    ring = np.rint(outer).astype(np.int32)
    if not lies_inside(np.concatenate([ring, ring.max(axis=0, keepdims=True) + 1]).astype(np.float64), place, field):
        return None
    height, width = place.size
    corner = np.clip(ring.min(axis=0), 0, (width - 1, height - 1))
    far = np.clip(ring.max(axis=0), 0, (width - 1, height - 1))
    canvas = np.zeros((far - corner + 1)[::-1], np.uint8)
    cv2.fillPoly(canvas, [ring - corner], 1)
    if rings:
        cv2.fillPoly(canvas, [hole - corner for hole in rings], 0)
    return mask_shape(canvas > 0, (int(corner[0]), int(corner[1])), place, field)


def _rectangle(points: Any, field: str, place: Place) -> Box | None:
    corners = _ring(points.get("exterior") if isinstance(points, dict) else None, f"{field}/exterior", place)
    if corners is None:
        return None
    if len(corners) != 2:
        place.error("point-count", f"{field}/exterior", "expected two corners", len(corners))
        return None
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return box_shape((x1, y1, x2 + 1, y2 + 1), place, field)


def _bitmap(found: Any, field: str, place: Place) -> Rle | None:
    origin = found.get("origin") if isinstance(found, dict) else None
    if not isinstance(origin, list) or len(origin) != 2 or not all(type(value) is int for value in origin):
        place.error("mask", f"{field}/origin", "expected the upper left pixel as [x, y]", origin)
        return None
    crop = _decoded(found.get("data"), place.size)
    if crop is None:
        message = "expected a deflated PNG in base64, no larger than the picture"
        place.error("mask", f"{field}/data", message, hint="export the annotations again")
        return None
    x, y = (min(max(value, -int(_FARTHEST)), int(_FARTHEST)) for value in origin)
    return mask_shape(crop, (x, y), place, field)


def _decoded(text: Any, size: tuple[int, int]) -> BoolArray | None:
    """The mask in a `data` text: alpha where the PNG has some, else the numbers that are not 0; None if it is none."""
    try:
        packed = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        with Image.open(io.BytesIO(zlib.decompressobj().decompress(packed, _MOST_BYTES)), formats=["PNG"]) as image:
            if image.height > size[0] or image.width > size[1]:
                return None
            if image.mode in ("RGBA", "LA") or "transparency" in image.info:
                return np.asarray(np.asarray(image.convert("RGBA"))[..., 3] > 0)
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                return None
            return np.asarray(np.asarray(image) != 0)
    except (binascii.Error, zlib.error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
