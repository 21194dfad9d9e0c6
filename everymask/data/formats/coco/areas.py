"""Whether the areas that a COCO file states are those of its masks: of many objects at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.forms.rings import ring_areas, ring_lengths, ring_pixels
from everymask.core.forms.rle import runs_from_string
from everymask.core.masks import Masks
from everymask.data.issues import IssueLog
from everymask.data.records import Annotation, Polygons, Rle


@dataclass(frozen=True, slots=True)
class Measured:
    """An object with a mask, the JSON pointer of its entry, and the size (H, W) of its picture."""

    annotation: Annotation
    pointer: str
    size: tuple[int, int]


def confirmed_areas(objects: Sequence[Measured], file: Path, issues: IssueLog) -> list[float | None]:
    """The areas that the entries state; None, with a warning, where one differs from its mask's by more than 1 %.

    Half a pixel along a polygon's edge is allowed besides. Rings that cross or overlap enclose more or less than the
    mask that they draw; both areas are then accepted. None too where no area is stated; an outline that encloses none
    is a warning.
    """
    stated = np.array([np.nan if item.annotation.area is None else item.annotation.area for item in objects])
    found, edges, outlined = _enclosed(objects)
    for row in np.flatnonzero(outlined & (found == 0)).tolist():
        where = f"{objects[row].pointer}/segmentation"
        issues.warn("polygon-empty", "the outline encloses no area", file=file, where=where)
    doubtful = np.flatnonzero(_differs(stated, found, edges / 2))
    drawn = doubtful[outlined[doubtful]]
    found[drawn] = _pixels([objects[row] for row in drawn.tolist()])
    wrong = doubtful[_differs(stated[doubtful], found[doubtful], 0)]
    kept: list[float | None] = [item.annotation.area for item in objects]
    for row in wrong.tolist():
        message = f"the mask has {found[row]:.0f} pixels; the area given is ignored"
        where = f"{objects[row].pointer}/area"
        issues.warn("area", message, file=file, where=where, value=kept[row])
        kept[row] = None
    return kept


def _differs(stated: FloatArray, found: FloatArray, slack: FloatArray | float) -> BoolArray:
    """Whether two areas are not the same; False where none is stated."""
    return np.abs(stated - found) > 0.01 * found + 1 + slack


def _enclosed(objects: Sequence[Measured]) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The area of each object (overlaps of its rings count twice), the length of its edges, and if it has any."""
    areas, edges = np.zeros(len(objects)), np.zeros(len(objects))
    outlined = np.zeros(len(objects), np.bool_)
    rings: list[FloatArray] = []
    owners: list[int] = []
    for row, item in enumerate(objects):
        match item.annotation.shape:
            case Polygons(found):
                outlined[row] = True
                rings += found
                owners += [row] * len(found)
            case Rle(counts):
                areas[row] = runs_from_string(counts)[1::2].sum()
    if rings:
        areas += np.bincount(owners, ring_areas(rings), minlength=len(objects))
        edges += np.bincount(owners, ring_lengths(rings), minlength=len(objects))
    return areas, edges, outlined


def _pixels(objects: Sequence[Measured]) -> IntArray:
    """How many pixels the outlines fill."""
    found = np.zeros(len(objects), np.int64)
    single: list[tuple[int, FloatArray]] = []
    for row, item in enumerate(objects):
        shape = item.annotation.shape
        if isinstance(shape, Polygons) and len(shape.rings) == 1:
            single.append((row, shape.rings[0]))
        elif isinstance(shape, Polygons):
            found[row] = Masks.from_polygons([shape.rings], item.size).areas()[0]
    if single:
        rows = [row for row, _ in single]
        sizes = np.array([objects[row].size for row in rows])
        found[rows] = ring_pixels([ring for _, ring in single], sizes)
    return found
