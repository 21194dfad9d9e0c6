"""VIA's regions: what they cover, and which of their attributes is the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import degrees
from pathlib import Path
from typing import Any

import numpy as np

from everymask.data.formats.coco.objects import Place, is_number
from everymask.data.formats.drawn.reading import warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, box_shape, ellipse_ring, ring_shape
from everymask.data.issues import IssueLog
from everymask.data.records import Box, BoxOnly, Polygons

CLASS_NAMES = ("class", "label", "category", "name", "type", "object")
"""Names of attributes that mean the class, the likeliest first."""
_NO_AREA = ("polyline", "point", "line")
_FARTHEST = 1e8


@dataclass(frozen=True, slots=True)
class Region:
    """One region: its shape and its attributes as the file holds them, and where it stands."""

    shape: Any
    attributes: Any
    where: str


@dataclass(frozen=True, slots=True)
class ClassAttribute:
    """The attribute whose value is the class; without a name there is one class, `object`."""

    name: str | None

    def of(self, region: Region, place: Place, field: str) -> str | None:
        """The class of a region, or None when the log was told why there is none."""
        if self.name is None:
            return "object"
        found = region.attributes.get(self.name) if isinstance(region.attributes, dict) else None
        chosen = _chosen(found)
        if not chosen:
            message = f"expected a value of the attribute {self.name}, which is the class"
            place.error("label-missing", f"{field}/region_attributes", message, region.attributes, "set it in VIA")
            return None
        if len(chosen) > 1:
            message = "{count} regions have several classes ticked; the first one is taken"
            place.issues.warn_shared("several-labels", message, file=place.file)
        return chosen[0]


def class_attribute(regions: Sequence[Region], file: Path, issues: IssueLog) -> ClassAttribute:
    """The only attribute that has values; of several the likeliest name, which is noted, and an error if none has one.

    Where no region has a value, there is one class.
    """
    used: dict[str, None] = {}
    for region in regions:
        if isinstance(region.attributes, dict):
            used.update(dict.fromkeys(name for name, value in region.attributes.items() if _chosen(value)))
    if len(used) < 2:
        return ClassAttribute(next(iter(used), None))
    ranked = sorted((CLASS_NAMES.index(name.strip().lower()), name) for name in used if _means_class(name))
    listed = ", ".join(used)
    if not ranked:
        message = f"expected one attribute that is the class, but the regions have {listed}"
        hint = f"rename the one that is the class to {CLASS_NAMES[0]}, or remove the others"
        issues.error("class-attribute", message, file=file, hint=hint)
        return ClassAttribute(None)
    if len(ranked) > 1:
        message = f"several attributes may be the class ({listed}); {ranked[0][1]} is taken"
        issues.warn("class-attribute", message, file=file, hint=f"rename the right one to {CLASS_NAMES[0]}")
    return ClassAttribute(ranked[0][1])


def read_region(region: Region, attribute: ClassAttribute, place: Place) -> Drawn | None:
    """The shape of a region, or None when the log was told why there is none."""
    shape, field = region.shape, region.where
    kind = shape.get("name") if isinstance(shape, dict) else None
    if kind in _NO_AREA:
        warn_no_area(kind, place)
        return None
    where = f"{field}/shape_attributes"
    if kind not in ("polygon", "rect", "circle", "ellipse"):
        message = "expected polygon, rect, circle or ellipse"
        place.error("shape-type", f"{where}/name", message, kind, "draw the region anew, or remove it")
        return None
    label = attribute.of(region, place, field)
    outline: Polygons | BoxOnly | None = None
    box: Box | None = None
    match kind:
        case "polygon":
            outline = _polygon(shape, where, place)
        case "rect":
            outline, box = _rectangle(shape, where, place)
        case "circle":
            outline = _ellipse(shape, ("r", "r"), where, place)
        case "ellipse":
            outline = _ellipse(shape, ("rx", "ry"), where, place)
    return None if outline is None or label is None else Drawn(label, outline, f"{place.pointer}{field}", box)


def _means_class(name: str) -> bool:
    return name.strip().lower() in CLASS_NAMES


def _chosen(value: Any) -> list[str]:
    """The values of an attribute: a text, a number, or what is ticked of several."""
    if isinstance(value, dict):
        return [name for name, ticked in value.items() if ticked is True and name.strip()]
    text = str(value).strip() if isinstance(value, str) or type(value) is int else ""
    return [text] if text else []


def _polygon(shape: Mapping[str, Any], where: str, place: Place) -> Polygons | None:
    sides = [shape.get(f"all_points_{axis}") for axis in "xy"]
    for axis, side in zip("xy", sides, strict=True):
        if not isinstance(side, list) or not all(map(_is_pixels, side)):
            place.error("point", f"{where}/all_points_{axis}", "expected a list of numbers of pixels", side)
            return None
    x, y = (np.array(side, np.float64) for side in sides)
    if x.size != y.size:
        message = f"expected as many y as x, but found {x.size} and {y.size}"
        place.error("point-count", f"{where}/all_points_y", message)
        return None
    return ring_shape(np.stack([x, y], axis=1), place, where)


def _rectangle(shape: Mapping[str, Any], where: str, place: Place) -> tuple[BoxOnly | None, Box | None]:
    found = _numbers(shape, ("x", "y", "width", "height"), where, place)
    if found is None:
        return None, None
    x, y, width, height = found
    box = box_shape((x, y, x + width, y + height), place, where)
    return (None, None) if box is None else (BoxOnly(), box)


def _ellipse(shape: Mapping[str, Any], radii: tuple[str, str], where: str, place: Place) -> Polygons | None:
    found = _numbers({"theta": 0, **shape}, ("cx", "cy", *radii, "theta"), where, place)
    if found is None:
        return None
    x, y, across, down, turn = found
    if across <= 0 or down <= 0:
        place.error("zero-area", where, "expected radii above 0", [across, down], "remove the region")
        return None
    return ring_shape(ellipse_ring((x, y), (across, down), degrees(turn)), place, where)


def _numbers(shape: Mapping[str, Any], names: Sequence[str], where: str, place: Place) -> list[float] | None:
    for name in names:
        if not _is_pixels(shape.get(name)):
            place.error("number", f"{where}/{name}", "expected a number of pixels", shape.get(name))
            return None
    return [float(shape[name]) for name in names]


def _is_pixels(value: Any) -> bool:
    return is_number(value) and abs(value) <= _FARTHEST
