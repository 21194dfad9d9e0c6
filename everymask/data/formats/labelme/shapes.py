"""The shapes in a labelme file and what they are on the picture."""

from __future__ import annotations

import base64
import binascii
import io
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from everymask.core.arrays import BoolArray, FloatArray
from everymask.core.masks import Masks
from everymask.data.issues import IssueLog
from everymask.data.records import Polygons, Rle

NO_TRUTH, BACKGROUND = IGNORED = ("__ignore__", "_background_")
_MAX_POINTS = 100_000
_FARTHEST = 1e15
_POINTS = {"polygon": (3, _MAX_POINTS), "rectangle": (2, 4), "rotation": (4, 4), "oriented_rectangle": (4, 4),
           "circle": (2, 2), "mask": (2, 2)}  # fmt: skip
"""The shape types with an area, and how many points each has."""


@dataclass(frozen=True, slots=True)
class LabelmeObject:
    """One object: the shapes of one label and `group_id`, or a single shape without `group_id`."""

    label: str
    shape: Polygons | Rle
    crowd: bool


@dataclass(slots=True)
class _Parts:
    """The shapes of one object while they are collected: rings [K, 2], and crops with their corner (x, y)."""

    label: str
    crowd: bool = False
    rings: list[FloatArray] = field(default_factory=list)
    crops: list[tuple[BoolArray, tuple[int, int]]] = field(default_factory=list)


def read_shapes(shapes: list[Any], size: tuple[int, int], file: object, issues: IssueLog) -> list[LabelmeObject]:
    """The objects of a picture of `size` (H, W), in the order of their first shapes; bad shapes are left out.

    Shapes with one label and one `group_id` are one object. Those labelled `_background_` are left out, with a warning
    that counts those labelled `__ignore__` too: neither are objects. Points, lines and line strips have no area and are
    errors. What reaches out of the picture is cut off, with a warning from two pixels on. A bad shape labelled
    `__ignore__` is no error but a warning.
    """
    objects: dict[object, _Parts] = {}
    ignored = 0
    for index, shape in enumerate(shapes):
        where = f"/shapes/{index}"
        label = shape.get("label") if isinstance(shape, dict) else None
        label = unicodedata.normalize("NFC", label) if isinstance(label, str) else label
        if not isinstance(shape, dict) or not isinstance(label, str) or not label.strip():
            issues.error("label-missing", "expected an object with a label", file=file, where=where, value=label)
            continue
        ignored += label in IGNORED
        if label == BACKGROUND:
            continue
        noted = IssueLog("skip") if label == NO_TRUTH else issues
        group = shape.get("group_id")
        if group is not None and (not isinstance(group, int) or isinstance(group, bool)):
            message = "expected a whole number or null"
            noted.error("group-id", message, file=file, where=f"{where}/group_id", value=group)
        else:
            kept = (objects.get((label, group)) if group is not None else None) or _Parts(label)
            if _add_shape(kept, shape, size, (file, where), noted):
                flags = shape.get("flags")
                kept.crowd |= isinstance(flags, dict) and flags.get("crowd") is True
                objects[(label, group) if group is not None else index] = kept
        if label == NO_TRUTH:
            issues.warn_of(noted, "the region to ignore is left out")
    if ignored:
        message = f"{ignored} shapes labelled {' or '.join(IGNORED)} are no objects"
        issues.warn("ignored-shapes", message, file=file)
    return [LabelmeObject(parts.label, _outline(parts, size), parts.crowd) for parts in objects.values()]


def _add_shape(
    parts: _Parts, shape: dict[str, Any], size: tuple[int, int], place: tuple[object, str], issues: IssueLog
) -> bool:
    """Whether the shape could be used and was added; `place` is the file and the JSON pointer."""
    file, where = place
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in _POINTS:
        hint = "draw the object's outline, or remove the shape; lines and points have no area"
        message = f"expected one of {', '.join(_POINTS)}"
        issues.error("shape-type", message, file=file, where=f"{where}/shape_type", value=kind, hint=hint)
        return False
    points = _points(shape.get("points"), kind, place, issues)
    if points is None:
        return False
    if kind == "mask":
        return _add_mask(parts, shape.get("mask"), points, size, place, issues)
    if kind == "circle":
        radius = math.dist(points[0], points[1])
        box = np.array([points[0] - radius, points[0] + radius])
        if radius == 0:
            issues.error("zero-area", "expected a circle with a radius", file=file, where=f"{where}/points")
            return False
        if not _check_inside(box, size, place, issues):
            return False
        parts.crops.append(_disc(points[0], radius, size))
        return True
    ring = _corners(points) if kind == "rectangle" and len(points) == 2 else points
    if not _check_inside(ring, size, place, issues):
        return False
    x, y = (ring - ring[0]).T
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) == 0:
        message = "expected an outline with an area"
        issues.error("zero-area", message, file=file, where=f"{where}/points", hint="remove the shape or draw it anew")
        return False
    parts.rings.append(ring)
    return True


def _points(found: Any, kind: str, place: tuple[object, str], issues: IssueLog) -> FloatArray | None:
    file, where = place[0], f"{place[1]}/points"
    pairs = found if isinstance(found, list) else []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_place, pair)):
            issues.error("point", "expected [x, y] in pixels", file=file, where=f"{where}/{index}", value=pair)
            return None
    low, high = _POINTS[kind]
    if not low <= len(pairs) <= high or (kind == "rectangle" and len(pairs) == 3):
        message = f"expected {low if low == high else f'{low} to {high}'} points for a {kind}"
        issues.error("point-count", message, file=file, where=where, value=len(pairs) if pairs else found)
        return None
    return np.array(pairs, np.float64)


def _is_place(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _FARTHEST


def _check_inside(points: FloatArray, size: tuple[int, int], place: tuple[object, str], issues: IssueLog) -> bool:
    height, width = size
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    file, where = place[0], f"{place[1]}/points"
    found = [round(value, 1) for value in (x1, y1, x2, y2)]
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height or beyond > max(height, width):
        message = f"expected a shape on the picture of {width} x {height} pixels"
        hint = "was the picture resized or replaced after it was annotated?"
        issues.error("shape-outside", message, file=file, where=where, value=found, hint=hint)
        return False
    if beyond > 1:
        message = f"the shape reaches out of the picture of {width} x {height} pixels and is cut off"
        issues.warn("shape-clipped", message, file=file, where=where, value=found)
    return True


def _corners(points: FloatArray) -> FloatArray:
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _disc(centre: FloatArray, radius: float, size: tuple[int, int]) -> tuple[BoolArray, tuple[int, int]]:
    """The disc as labelme paints it, by Pillow's ellipse, in its window: a crop and its corner."""
    height, width = size
    x1, y1 = (max(0, math.floor(value - radius) - 1) for value in centre.tolist())
    x2, y2 = (
        min(side, math.ceil(value + radius) + 2) for value, side in zip(centre.tolist(), (width, height), strict=True)
    )
    canvas = Image.new("L", (x2 - x1, y2 - y1))
    x, y = centre[0] - x1, centre[1] - y1
    ImageDraw.Draw(canvas).ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    return np.asarray(canvas) > 0, (x1, y1)


def _add_mask(
    parts: _Parts,
    found: Any,
    points: FloatArray,
    size: tuple[int, int],
    place: tuple[object, str],
    issues: IssueLog,
) -> bool:  # fmt: skip
    file, where = place
    (x1, y1), (x2, y2) = np.rint(points).astype(np.int64).tolist()
    crop = _decode(found) if isinstance(found, str) else None
    if crop is None:
        hint = "draw the mask anew, or remove the shape"
        issues.error("mask", "expected a PNG picture in base64", file=file, where=f"{where}/mask", hint=hint)
        return False
    expected = (y2 - y1 + 1, x2 - x1 + 1)
    if crop.shape != expected:
        message = f"expected {expected[1]} x {expected[0]} pixels, as the two points say"
        shown = f"{crop.shape[1]} x {crop.shape[0]}"
        issues.error("mask-size", message, file=file, where=f"{where}/mask", value=shown)
        return False
    box = np.array([[x1, y1], [x2 + 1, y2 + 1]], np.float64)
    if not _check_inside(box, size, place, issues):
        return False
    crop = crop[max(0, -y1) : size[0] - y1, max(0, -x1) : size[1] - x1]
    if not crop.any():
        issues.error("empty-mask", "the mask is empty", file=file, where=f"{where}/mask", hint="remove the shape")
        return False
    parts.crops.append((crop, (max(0, x1), max(0, y1))))
    return True


def _decode(text: str) -> BoolArray | None:
    """The pixels that are not 0 of a PNG in base64, or None."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > 500_000_000 or image.mode not in ("1", "L", "P", "I", "I;16"):
                return None
            return np.asarray(np.asarray(image) != 0, np.bool_)
    except (binascii.Error, OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        return None


def encode_mask(crop: BoolArray) -> str:
    """A crop as labelme's `mask` holds it: a PNG in base64."""
    stream = io.BytesIO()
    Image.fromarray(crop.astype(np.uint8)).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _outline(parts: _Parts, size: tuple[int, int]) -> Polygons | Rle:
    if not parts.crops:
        return Polygons(tuple(parts.rings))
    dense = np.zeros(size, np.bool_)
    for crop, (x, y) in parts.crops:
        dense[y : y + crop.shape[0], x : x + crop.shape[1]] |= crop
    if parts.rings:
        dense |= Masks.from_polygons([parts.rings], size).to_dense(0)
    return Rle(Masks.from_dense(dense[None]).to_rle()[0])


def label_names(objects: Iterable[LabelmeObject]) -> set[str]:
    """The labels of classes that occur."""
    return {found.label for found in objects} - set(IGNORED)
