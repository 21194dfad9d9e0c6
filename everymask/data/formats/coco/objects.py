"""One entry of COCO's `annotations`, checked field by field before anything is built from it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.forms.rings import ring_areas
from everymask.core.forms.rle import check_runs, runs_from_string, string_from_runs
from everymask.core.geometry import turned_corners
from everymask.data.formats.crowds import Crowds
from everymask.data.formats.turned import ANGLES, note_turned, stated_turn, upright
from everymask.data.issues import IssueLog
from everymask.data.records import Annotation, Box, BoxOnly, Polygons, Rle, Shape
from everymask.errors import DataError

MAX_ID = 2**63 - 1
_MAX_VERTICES = 100_000
_FARTHEST = 1e8
_SLACK = 1.0  # pixels that a box or outline may reach outside the picture
_NUMBERS = frozenset({int, float})
_NOISE = 0.05  # pixels outside that are rounding


def compact(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with its polygons and runs as arrays, which take a quarter of the memory of lists.

    Lists that hold anything but numbers stay as they are, to be reported.
    """
    outline = entry.get("segmentation")
    if type(outline) is list:
        for index, ring in enumerate(outline):
            if type(ring) is list and _NUMBERS.issuperset(map(type, ring)):
                with suppress(OverflowError):  # whole numbers of hundreds of digits
                    outline[index] = np.frombuffer(array("d", ring))
    return entry


def _fits(number: float) -> bool:
    return -1e300 < number < 1e300


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands, and what it must fit to.

    `crowds` says what becomes of crowds, `unmarked` that no object of the file has `iscrowd`, `outlined` that some have
    a mask.
    """

    file: Path
    pointer: str
    size: tuple[int, int]
    issues: IssueLog
    crowds: Crowds = "as-marked"
    unmarked: bool = False
    outlined: bool = True

    def error(self, code: str, field: str, message: str, value: object = None, hint: str = "") -> None:
        """Note a defect of `field`, a JSON pointer below this entry."""
        self.issues.error(code, message, file=self.file, where=self.pointer + field, value=value, hint=hint)

    def warn(self, code: str, field: str, message: str, value: object = None) -> None:
        """Note an oddity of `field`."""
        self.issues.warn(code, message, file=self.file, where=self.pointer + field, value=value)


def is_id(value: object) -> bool:
    """Whether the value is a whole number from 0 to 2^63 - 1, and no boolean."""
    return type(value) is int and 0 <= value <= MAX_ID


def is_number(value: object) -> bool:
    """Whether the value is a number, and no boolean."""
    return type(value) in (int, float)


def entry_id(entry: Any, place: tuple[Path, str], seen: dict[int, str], issues: IssueLog) -> int | None:
    """The id of an entry that stands at `place` (file, pointer), unless it is no id or stands in `seen` already."""
    file, pointer = place
    found = entry.get("id") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or not is_id(found):
        issues.error("id", "expected a whole number from 0", file=file, where=f"{pointer}/id", value=found)
        return None
    number: int = entry["id"]
    if number in seen:
        message = f"the id stands in {seen[number]}/id already"
        issues.error("repeated-id", message, file=file, where=f"{pointer}/id", value=number, hint="ids must differ")
        return None
    seen[number] = pointer
    return number


def read_object(entry: Mapping[str, Any], class_id: int, place: Place) -> Annotation | None:
    """The annotation, or None when the log was told why it cannot be used; its area is what the entry states."""
    shape = _shape(entry.get("segmentation"), place)
    turned = _turned(entry, shape, place)
    if turned is not None:
        note_turned(place.outlined, file=place.file, issues=place.issues)
        shape = Polygons((turned,)) if place.outlined else BoxOnly()
        entry = {**entry, "bbox": _without_turn(turned, place)}
    extent = shape.extent if isinstance(shape, Polygons) else None
    if isinstance(shape, Polygons) and extent and not (_in_range(shape, extent, place) and _lies_inside(extent, place)):
        shape = None
    crowd = _crowd(entry, shape, place)
    box = _box(entry.get("bbox"), extent, place)
    if shape is None or crowd is None or box is False:
        return None
    if box is None and entry.get("bbox"):
        if not _has_area(shape):
            hint = "draw it again, or remove it; --on-defect skip leaves it out and goes on"
            message = f"annotation {entry['id']} has a box without area and no mask with one: nothing is marked"
            place.error("box-empty", "/bbox", message, entry["bbox"], hint)
            return None
        place.warn("box-empty", "/bbox", "the box has no area; the box of the mask is used", entry["bbox"])
    if box is None and isinstance(shape, BoxOnly):
        place.error("no-shape", "", "expected a segmentation or a bbox, but found neither")
        return None
    area = _stated_area(entry.get("area"), place) if isinstance(shape, Polygons | Rle) else None
    return Annotation(class_id, shape, box, crowd, entry["id"], area)


def _turned(entry: Mapping[str, Any], shape: Shape | None, place: Place) -> FloatArray | None:
    """The corners [4, 2] of a box that stands at an angle, where there is no outline or that of the upright box."""
    box, attributes = entry.get("bbox"), entry.get("attributes")
    keys = {**entry, **(attributes if isinstance(attributes, dict) else {})}
    if not isinstance(shape, BoxOnly | Polygons) or not (keys.keys() & ANGLES):
        return None
    if type(box) is not list or len(box) != 4 or not all(is_number(v) and abs(v) <= _FARTHEST for v in box):
        return None
    x, y, width, height = box
    corners = turned_corners((x, y, x + width, y + height), 0)
    if isinstance(shape, Polygons) and not _is_ring(shape, corners):
        return None
    degrees = stated_turn(keys, file=place.file, issues=place.issues)
    return turned_corners((x, y, x + width, y + height), degrees) if degrees and width > 0 and height > 0 else None


def _is_ring(shape: Polygons, corners: FloatArray) -> bool:
    """Whether an outline is that of the four corners, in whatever order."""
    if len(shape.rings) != 1 or not 4 <= len(shape.rings[0]) <= 5:
        return False
    distances = np.abs(shape.rings[0][:, None] - corners[None]).max(axis=2)
    return bool((distances.min(axis=0) <= _SLACK).all() and (distances.min(axis=1) <= _SLACK).all())


def _without_turn(corners: FloatArray, place: Place) -> list[float]:
    x1, y1, x2, y2 = upright(corners, place.size)
    return [x1, y1, x2 - x1, y2 - y1]


def _crowd(entry: Mapping[str, Any], shape: Shape | None, place: Place) -> bool | None:
    if place.crowds == "as-objects" or place.unmarked:
        return False
    if "iscrowd" not in entry:
        hint = "write 0, or 1 for a region of many objects; --on-defect skip takes it as 0"
        place.error("crowd-missing", "/iscrowd", "iscrowd is missing", hint=hint)
        return False
    crowd = entry["iscrowd"]
    if crowd not in (0, 1) or isinstance(crowd, float):
        place.error("crowd", "/iscrowd", "expected 0 or 1", crowd)
        return None
    if crowd and isinstance(shape, Polygons):
        hint = "crowd regions are run-lengths in COCO: set iscrowd to 0 (--crowds as-objects), or store the mask as RLE"
        place.error("crowd-polygon", "/iscrowd", "a crowd must not be a polygon", crowd, hint)
        return None
    return bool(crowd)


def _box(box: Any, extent: Box | None, place: Place) -> Box | Literal[False] | None:
    """The xyxy box; None where there is none or it has no area (then the mask's box counts); False after an error."""
    if box is None or box == []:
        return None
    if type(box) is not list or len(box) != 4:
        place.error("box", "/bbox", "expected a list of four numbers: x, y, width, height", box)
        return False
    for index, value in enumerate(box):
        if not is_number(value) or abs(value) > _FARTHEST:
            place.error("box", f"/bbox/{index}", "expected a number of pixels", value)
            return False
    x, y, width, height = box
    picture_height, picture_width = place.size
    if width < 0 or height < 0:
        place.error("box-negative", "/bbox", "width and height must not be negative", box)
        return False
    outside = max(-x, -y, x + width - picture_width, y + height - picture_height)
    if outside > _SLACK or (extent is not None and _is_xyxy(box, extent)):
        hint = "correct the box, or the picture's width and height"
        if x < width <= picture_width + _SLACK and y < height <= picture_height + _SLACK:
            hint = "the numbers look like x1, y1, x2, y2, but COCO wants x, y, width, height"
        message = f"the box does not fit a picture of {picture_width} x {picture_height} pixels"
        if outside <= _SLACK:
            message = "the box does not fit the outline"
        place.error("box-outside", "/bbox", message, box, hint)
        return False
    if width == 0 or height == 0:
        return None
    if outside > _NOISE:
        place.warn("box-clipped", "/bbox", "the box reaches up to 1 pixel outside the picture; clipped", box)
    x2, y2 = min(x + width, picture_width), min(y + height, picture_height)
    return float(max(x, 0)), float(max(y, 0)), float(x2), float(y2)


def _is_xyxy(box: Sequence[float], extent: Box) -> bool:
    """Whether the box fits the outline's extent only if read as x1, y1, x2, y2."""
    slack = 2.0
    fits = all(abs(given - found) <= slack for given, found in zip(box, extent, strict=True))
    return fits and (abs(box[0]) > 2 * slack or abs(box[1]) > 2 * slack)


def _shape(outline: Any, place: Place) -> Shape | None:
    if outline is None or (type(outline) is list and not outline):
        return BoxOnly()
    if type(outline) is dict:
        return read_runs(outline, place, "/segmentation")
    if type(outline) is not list:
        message = "expected a list of polygons or an object with size and counts"
        place.error("segmentation-type", "/segmentation", message, outline)
        return None
    if all(is_number(value) for value in outline):
        hint = "put the numbers into one more pair of brackets"
        place.error("polygon-nesting", "/segmentation", "expected a list of polygons, but found one polygon", hint=hint)
        return None
    rings = [_ring(ring, index, place) for index, ring in enumerate(outline)]
    if any(ring is None for ring in rings):
        return None
    return Polygons(tuple(ring for ring in rings if ring is not None))


def _ring(ring: Any, index: int, place: Place) -> FloatArray | None:
    pointer = f"/segmentation/{index}"
    if not isinstance(ring, np.ndarray):
        if type(ring) is list and any(type(value) is list for value in ring):
            message = "nested too deep: expected a flat list x1, y1, x2, y2, ..."
            place.error("polygon-nesting", pointer, message, ring)
        elif type(ring) is list:
            wrong = next(k for k, value in enumerate(ring) if not is_number(value) or not _fits(value))
            place.error("polygon-number", f"{pointer}/{wrong}", "expected a number", ring[wrong])
        else:
            place.error("polygon-type", pointer, "expected a list x1, y1, x2, y2, ...", ring)
        return None
    if ring.size % 2 or ring.size < 6:
        message = f"expected pairs of x and y for at least 3 points, but found {ring.size} numbers"
        place.error("polygon-points", pointer, message, hint="remove the outline or draw it again")
        return None
    if ring.size > 2 * _MAX_VERTICES:
        message = f"expected at most {_MAX_VERTICES} points, but found {ring.size // 2}"
        place.error("polygon-points", pointer, message, hint="simplify the outline, or store the mask as RLE")
        return None
    return ring.reshape(-1, 2)


def _in_range(shape: Polygons, extent: Box, place: Place) -> bool:
    if max(extent[2:]) <= _FARTHEST and min(extent[:2]) >= -_FARTHEST:
        return True
    far = [float(np.abs(ring).max()) for ring in shape.rings]
    index = far.index(max(far))
    wrong = int(np.abs(shape.rings[index]).argmax())
    value = float(shape.rings[index].ravel()[wrong])
    place.error("polygon-number", f"/segmentation/{index}/{wrong}", "expected pixels of the picture", value)
    return False


def _lies_inside(extent: Box, place: Place) -> bool:
    height, width = place.size
    x1, y1, x2, y2 = extent
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        message = f"the outline lies outside the picture of {width} x {height} pixels"
        place.error("polygon-outside", "/segmentation", message, extent)
        return False
    if min(x1, y1) < -_SLACK or x2 > width + _SLACK or y2 > height + _SLACK:
        place.warn("polygon-clipped", "/segmentation", "the outline leaves the picture; its inner part counts", extent)
    return True


def read_runs(outline: Mapping[str, Any], place: Place, field: str) -> Rle | None:
    """Run lengths of either kind with the picture's size, at `field`; None when the log was told what is wrong."""
    size, counts = outline.get("size"), outline.get("counts")
    expected = list(place.size)
    if size != expected or not isinstance(size, list) or any(type(side) is not int for side in size):
        hint = "height comes first in an RLE's size" if size == expected[::-1] else ""
        message = f"expected the picture's height and width {expected}"
        place.error("rle-size", f"{field}/size", message, size, hint)
        return None
    if not isinstance(counts, str | list):
        place.error("rle-counts", f"{field}/counts", "expected a string or a list of whole numbers", counts)
        return None
    try:
        if isinstance(counts, str):
            check_runs(runs_from_string(counts), place.size)
            return Rle(counts.encode("ascii"))
        wrong = next((k for k, value in enumerate(counts) if type(value) is not int or abs(value) > MAX_ID), None)
        if wrong is not None:
            where = f"{field}/counts/{wrong}"
            place.error("rle-counts", where, "expected whole numbers", counts[wrong])
            return None
        runs = np.array(counts, np.int64)
        check_runs(runs, place.size)
        return Rle(string_from_runs(runs))
    except DataError as error:
        place.error("rle-counts", f"{field}/counts", error.message, counts, error.hint)
        return None


def _has_area(shape: Shape) -> bool:
    """Whether rings enclose something, or runs have pixels."""
    match shape:
        case Polygons(rings):
            return bool(ring_areas(rings).any())
        case Rle(counts):
            return bool(runs_from_string(counts)[1::2].any())
        case _:
            return False


def _stated_area(area: Any, place: Place) -> float | None:
    """The area that the file gives, which is not compared with the mask's here."""
    if area is not None and (not is_number(area) or abs(area) > _FARTHEST**2):
        place.warn("area", "/area", "expected a number; ignored", area)
        return None
    return None if area is None else float(area)
