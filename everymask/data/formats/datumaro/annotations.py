"""One entry of an item's `annotations`: a polygon, mask, box or ellipse, checked and made into what it covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from everymask.core.geometry import turned_corners
from everymask.core.masks import Masks
from everymask.data.formats.coco.objects import Place, is_number, read_runs
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, box_shape, ellipse_ring, ring_shape
from everymask.data.formats.drawn.writing import Piece
from everymask.data.formats.turned import note_turned, stated_turn
from everymask.data.records import Box, BoxOnly, Polygons, Rle

_AREAS = ("polygon", "mask", "bbox", "ellipse")
_NO_AREA = frozenset({
    "label", "points", "polyline", "caption", "cuboid_2d", "cuboid_3d", "skeleton", "depth_annotation",
    "super_resolution_annotation", "feature_vector", "hash_key", "tabular",
})  # fmt: skip
_FARTHEST = 1e8
_CROWD = "is_crowd"
"""The attribute by which Datumaro marks groups that it read from COCO."""


def read_annotation(entry: Any, names: Sequence[str], place: Place, field: str) -> Drawn | None:
    """The shape, or None when the log was told why there is none: a defect, or a kind that covers no area."""
    kind = entry.get("type") if isinstance(entry, dict) else None
    if isinstance(kind, str) and kind in _NO_AREA:
        warn_no_area(kind, place)
        return None
    if kind not in _AREAS:
        message = f"expected one of {', '.join(_AREAS)}"
        place.error("shape-type", f"{field}/type", message, kind, "remove the entry, or draw an outline")
        return None
    number = entry.get("label_id")
    if type(number) is not int or not 0 <= number < len(names):
        message = "expected the place of a label that the file lists, counted from 0"
        place.error("unknown-class", f"{field}/label_id", message, number)
        return None
    attributes = entry["attributes"] if isinstance(entry.get("attributes"), dict) else {}
    shape: Polygons | Rle | BoxOnly | None = None
    box: Box | None = None
    match kind:
        case "polygon":
            points = _numbers(entry.get("points"), f"{field}/points", place)
            shape = None if points is None else ring_shape(points.reshape(-1, 2), place, field)
        case "mask":
            shape = _mask(entry.get("rle"), f"{field}/rle", place)
        case "bbox":
            shape, box = _box(entry.get("bbox"), attributes, field, place)
        case "ellipse":
            shape = _ellipse(entry.get("points"), attributes, field, place)
    if shape is None:
        return None
    group = entry.get("group")
    joined = group if type(group) is int and group else None
    return Drawn(names[number], shape, f"{place.pointer}{field}", box, attributes.get(_CROWD) in (True, 1), joined)


def written_annotations(piece: Piece, class_id: int, size: tuple[int, int], number: int) -> Iterator[dict[str, Any]]:
    """An object's entries: outlines stay outlines, which a `group` joins where there are several; else one entry.

    `number` is that of the first entry, and of the group.
    """
    marks = {"attributes": {_CROWD: True} if piece.crowd else {}, "label_id": class_id, "z_order": 0}
    if piece.box is not None:
        x1, y1, x2, y2 = piece.box
        yield {"id": number, "type": "bbox", "group": 0, "bbox": [x1, y1, x2 - x1, y2 - y1], **marks}
    elif piece.rings:
        group = number if len(piece.rings) > 1 else 0
        for row, ring in enumerate(piece.rings):
            yield {"id": number + row, "type": "polygon", "group": group, "points": ring.ravel().tolist(), **marks}
    else:
        counts = Masks.from_dense(piece.dense(size)[None]).to_rle()[0].decode("ascii")
        yield {"id": number, "type": "mask", "group": 0, "rle": {"counts": counts, "size": list(size)}, **marks}


def _numbers(values: Any, field: str, place: Place, count: int = 0) -> Any:
    """The list of numbers as an array, of which there must be `count`, or pairs; None when the log was told why not."""
    if not isinstance(values, list) or len(values) % 2 or (count and len(values) != count):
        message = f"expected {count} numbers" if count else "expected pairs of x and y"
        place.error("point-count", field, message, values)
        return None
    wrong = next((k for k, value in enumerate(values) if not is_number(value) or not abs(value) <= _FARTHEST), None)
    if wrong is not None:
        place.error("point", f"{field}/{wrong}", "expected a number of pixels", values[wrong])
        return None
    return np.array(values, np.float64)


def _mask(found: Any, field: str, place: Place) -> Rle | None:
    if not isinstance(found, dict):
        place.error("mask", field, "expected an object with size and counts", found)
        return None
    shape = read_runs(found, place, field)
    if shape is not None and not Masks.from_rle([shape.counts], place.size).areas()[0]:
        place.error("empty-mask", field, "the mask is empty", hint="draw it anew, or remove it")
        return None
    return shape


def _box(
    found: Any, attributes: dict[str, Any], field: str, place: Place
) -> tuple[Polygons | BoxOnly | None, Box | None]:
    sides = _numbers(found, f"{field}/bbox", place, 4)
    if sides is None:
        return None, None
    x, y, width, height = sides.tolist()
    degrees = stated_turn(attributes, file=place.file, issues=place.issues)
    if degrees and width > 0 and height > 0:
        note_turned(True, file=place.file, issues=place.issues)
        return ring_shape(turned_corners((x, y, x + width, y + height), degrees), place, field), None
    box = box_shape((x, y, x + width, y + height), place, field)
    return (None, None) if box is None else (BoxOnly(), box)


def _ellipse(found: Any, attributes: dict[str, Any], field: str, place: Place) -> Polygons | None:
    corners = _numbers(found, f"{field}/points", place, 4)
    if corners is None:
        return None
    x1, y1, x2, y2 = corners.tolist()
    radii = (x2 - x1) / 2, (y2 - y1) / 2
    if min(radii) <= 0:
        place.error("zero-area", field, "expected an ellipse with two radii", found, "remove it or draw it anew")
        return None
    degrees = stated_turn(attributes, file=place.file, issues=place.issues)
    return ring_shape(ellipse_ring(((x1 + x2) / 2, (y1 + y2) / 2), radii, degrees), place, field)
