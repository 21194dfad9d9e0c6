"""The annotations of a COCO panoptic file, checked field by field before a map is opened."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everymask.core.segmentation import Segment
from everymask.data.formats.coco.objects import is_id, is_number
from everymask.data.issues import IssueLog
from everymask.data.panoptic import MOST_SEGMENT
from everymask.data.records import Record


@dataclass(frozen=True, slots=True)
class ListedSegment:
    """A segment, where in the file it stands, and the area in pixels that the file states."""

    segment: Segment
    pointer: str
    area: float | None


@dataclass(frozen=True, slots=True)
class ListedPicture:
    """A picture, the name of its map, where in the file it stands, and its segments."""

    record: Record
    name: str
    pointer: str
    segments: tuple[ListedSegment, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """What the annotations of one file refer to: class ids by category id, which of them are `things`, the pictures
    that can be used by image id, and all image ids. `seen` grows as they are read.
    """

    file: Path
    classes: Mapping[int, int]
    things: Collection[int]
    pictures: Mapping[int, Record]
    image_ids: Collection[int]
    issues: IssueLog
    seen: dict[int, str] = field(default_factory=dict)

    def error(self, code: str, message: str, where: str, value: object = None, hint: str = "") -> None:
        """Note a defect."""
        self.issues.error(code, message, file=self.file, where=where, value=value, hint=hint)


def has_segments(file: Path) -> bool:
    """Whether a JSON file has segments for the pictures that it lists, without parsing it."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(key) >= 0 for key in (b'"segments_info"', b'"annotations"', b'"images"'))
    except (OSError, ValueError):  # mmap refuses empty files with ValueError
        return False


def read_entries(entries: Sequence[Any], known: Listed) -> list[ListedPicture]:
    """The pictures whose annotations are sound; one with a defect is left out, since its map has pixels of it."""
    found = (_read_entry(entry, f"/annotations/{index}", known) for index, entry in enumerate(entries))
    return [picture for picture in found if picture is not None]


def _read_entry(entry: Any, pointer: str, known: Listed) -> ListedPicture | None:
    if not isinstance(entry, dict) or not is_id(entry.get("image_id")) or entry["image_id"] not in known.image_ids:
        value = entry.get("image_id") if isinstance(entry, dict) else entry
        known.error("unknown-image", "expected the id of an image that the file lists", f"{pointer}/image_id", value)
        return None
    number, name, rows = entry["image_id"], entry.get("file_name"), entry.get("segments_info")
    if number in known.seen:
        message = f"the picture is annotated in {known.seen[number]} already"
        known.error("repeated-picture", message, f"{pointer}/image_id", number)
        return None
    known.seen[number] = pointer
    if not isinstance(rows, list):
        known.error("segments", "expected a list called segments_info", f"{pointer}/segments_info", rows)
        return None
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        hint = "a panoptic map is a PNG of segment numbers for each picture"
        known.error("file-name", "expected the name of the panoptic map", f"{pointer}/file_name", name, hint)
        return None
    places: dict[int, str] = {}
    segments = [_read_segment(row, f"{pointer}/segments_info/{k}", places, known) for k, row in enumerate(rows)]
    sound = tuple(segment for segment in segments if segment is not None)
    if len(sound) < len(segments) or number not in known.pictures:
        return None
    _note_split_stuff(sound, known)
    return ListedPicture(known.pictures[number], name, pointer, sound)


def _read_segment(row: Any, pointer: str, places: dict[int, str], known: Listed) -> ListedSegment | None:
    """A segment, unless the log was told what is wrong with it."""
    if not isinstance(row, dict):
        known.error("segments", "expected an object with id and category_id", pointer, row)
        return None
    number, category, crowd, area = (row.get(key) for key in ("id", "category_id", "iscrowd", "area"))
    if type(number) is not int or not 0 < number <= MOST_SEGMENT:
        hint = "0 is what has no truth" if number == 0 else "a colour holds 24 bits: R + 256 G + 65536 B"
        known.error("segment-id", f"expected a whole number from 1 to {MOST_SEGMENT:,}", f"{pointer}/id", number, hint)
        return None
    if number in places:
        message = f"the segment stands in {places[number]} already: two segments of one colour cannot be told apart"
        known.error("repeated-segment", message, f"{pointer}/id", number, "give each segment a colour of its own")
        return None
    places[number] = pointer
    if type(category) is not int or category not in known.classes:
        message = "expected the id of a category that the file lists"
        known.error("unknown-category", message, f"{pointer}/category_id", category)
        return None
    if crowd not in (0, 1, None) or isinstance(crowd, float):
        known.error("crowd", "expected 0 or 1", f"{pointer}/iscrowd", crowd)
        return None
    if area is not None and not is_number(area):
        known.issues.warn("area", "expected a number; ignored", file=known.file, where=f"{pointer}/area", value=area)
        area = None
    return ListedSegment(Segment(number, known.classes[category], crowd=bool(crowd)), pointer, area)


def _note_split_stuff(segments: Sequence[ListedSegment], known: Listed) -> None:
    """Warn of stuff of one class in two segments, which scores then count as two."""
    first: dict[int, str] = {}
    for one in segments:
        class_id = one.segment.class_id
        if class_id in known.things or one.segment.crowd:
            continue
        before = first.setdefault(class_id, one.pointer)
        if before != one.pointer:
            message = f"a second segment of a stuff class, the first of which is {before}; they stay two"
            hint = "stuff is not counted: give all of a class one segment, or set isthing to 1"
            where = f"{one.pointer}/category_id"
            known.issues.warn("split-stuff", message, file=known.file, where=where, hint=hint)
