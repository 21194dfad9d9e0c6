"""Shapes that people draw, checked and made into what a data set holds.

All coordinates are xy in pixels of the displayed picture; the upper left corner of the upper left pixel is (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray
from everymask.core.masks import Masks
from everymask.data.formats.coco.objects import Place
from everymask.data.records import Box, BoxOnly, MaskFile, Polygons, Rle

MAX_POINTS = 100_000
_TOLERANCE = 0.02  # pixels between an ellipse and the ring that stands for it
_ROUNDED = 6  # decimals that survive fractions of a side: a millionth of a pixel


@dataclass(frozen=True, slots=True)
class Drawn:
    """One shape: its label, what it covers, and the number of the `group` of shapes that are one object.

    `ignored` marks a region without truth, which is no object. `box` is set where the shape is `BoxOnly`: an upright
    rectangle, whose meaning depends on what else is drawn.
    """

    label: str
    shape: Polygons | Rle | MaskFile | BoxOnly
    where: str
    box: Box | None = None
    crowd: bool = False
    group: Hashable = None
    ignored: bool = False


def ring_shape(points: Array, place: Place, field: str = "") -> Polygons | None:
    """The outline through `points` [K, 2], or None when the log was told why it cannot be used."""
    ring = np.asarray(points, np.float64)
    if not 3 <= len(ring) <= MAX_POINTS:
        message = f"expected 3 to {MAX_POINTS:,} points for an outline"
        place.error("point-count", field, message, len(ring), "remove the outline or draw it again")
        return None
    if not lies_inside(ring, place, field):
        return None
    x, y = (ring - ring[0]).T
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) == 0:
        place.error("zero-area", field, "expected an outline with an area", hint="remove the shape or draw it anew")
        return None
    return Polygons((ring,))


def box_shape(box: Box, place: Place, field: str = "") -> Box | None:
    """The upright box cut to the picture, or None when the log was told why it cannot be used."""
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        message = "expected a box with a width and a height"
        place.error("zero-area", field, message, box, "remove the box or draw it anew")
        return None
    if not lies_inside(np.array([[x1, y1], [x2, y2]]), place, field):
        return None
    height, width = place.size
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def mask_shape(crop: BoolArray, corner: tuple[int, int], place: Place, field: str = "") -> Rle | None:
    """The mask whose crop [h, w] has its upper left pixel at `corner` (x, y), or None when the log was told why not."""
    x, y = corner
    height, width = place.size
    if not crop.any():
        place.error("empty-mask", field, "the mask is empty", hint="draw it anew, or remove it")
        return None
    if not lies_inside(np.array([[x, y], [x + crop.shape[1], y + crop.shape[0]]], np.float64), place, field):
        return None
    cut = crop[max(0, -y) : height - y, max(0, -x) : width - x]
    if not cut.any():
        place.error("shape-outside", field, f"the mask lies outside the picture of {width} x {height} pixels")
        return None
    return Rle(Masks.from_crops([cut], np.array([[max(0, x), max(0, y)]]), place.size).to_rle()[0])


def lies_inside(points: FloatArray, place: Place, field: str = "") -> bool:
    """Whether a shape with these corners lies on the picture; what reaches out by more than a pixel is noted."""
    height, width = place.size
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    beyond = max(-x1, -y1, x2 - width, y2 - height)
    found = [round(value, 1) for value in (x1, y1, x2, y2)]
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height or beyond > max(height, width):
        message = f"expected a shape on the picture of {width} x {height} pixels"
        place.error("shape-outside", field, message, found, "was the picture resized after it was annotated?")
        return False
    if beyond > 1:
        message = f"the shape reaches out of the picture of {width} x {height} pixels and is cut off"
        place.warn("shape-clipped", field, message, found)
    return True


def box_ring(box: Box) -> FloatArray:
    """The corners of an upright box, clockwise as seen from the upper left."""
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)


def ellipse_ring(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> FloatArray:
    """A ring that keeps within 0.02 pixels of an ellipse turned clockwise as seen about its centre."""
    largest = max(*radii, _TOLERANCE)
    count = math.ceil(math.pi / math.acos(max(0.5, 1 - _TOLERANCE / largest)))
    angles = np.linspace(0, 2 * math.pi, min(max(count, 12), 2000), endpoint=False)
    ring = np.stack([radii[0] * np.cos(angles), radii[1] * np.sin(angles)], axis=1) + centre
    return turned(ring, degrees, centre)


def turned(points: FloatArray, degrees: float, centre: tuple[float, float]) -> FloatArray:
    """The points turned clockwise as seen (y points down) about `centre`."""
    if degrees % 360 == 0:
        return points
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = np.array(centre, np.float64)
    # Rounded, since COCO's rule may move a pixel where a corner differs in its last bit.
    return np.asarray(np.round((points - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle, _ROUNDED))


def from_percent(values: Array, size: tuple[int, int]) -> FloatArray:
    """Points [K, 2] in percent of a picture's width and height, in pixels; `size` is (H, W)."""
    return np.asarray(np.round(np.asarray(values, np.float64) * (size[1], size[0]) / 100, _ROUNDED))
