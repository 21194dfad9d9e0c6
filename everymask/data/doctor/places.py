"""Where in which picture a defect is, so that it can be shown: as far as its file and its pointer tell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from everymask.data.dataset import Dataset
from everymask.data.pictures.read import SUFFIXES
from everymask.data.records import Annotation, Box, MaskFile, Polygons, Record, Rle, draw_shapes
from everymask.errors import DataError, Issue

_OUTLINES = ("segmentation", "points", "bbox")
_LARGEST = 256 << 20
_FARTHEST = 1e7


@dataclass(frozen=True, slots=True)
class Place:
    """A picture file, and the xyxy box (pixels, as displayed) of what is wrong in it; None: the picture as a whole."""

    picture: Path
    box: Box | None = None


class Places:
    """Finds the places of a data set's issues."""

    def __init__(self, dataset: Dataset) -> None:
        self._records = {str(record.image): record for record in dataset.records}
        self._stems: dict[str, Record | None] = {}
        self._names: dict[str, Record | None] = {}
        self._maps: dict[str, Record] = {}
        for record in dataset.records:
            for known, name in ((self._stems, record.image.stem), (self._names, record.image.name)):
                known[name] = record if name not in known else None
            for file in record.truth.files:
                self._maps.setdefault(str(file), record)
        self._root = dataset.root

    def find(self, issue: Issue) -> Place | None:
        """The place of an issue, or None where nothing says in which picture it is."""
        record = self._records.get(issue.file)
        if record is not None:
            return Place(record.image, _box_of(record, issue.where))
        file = Path(issue.file)
        if issue.file in self._maps:
            return Place(self._maps[issue.file].image)
        if file.suffix.lower() == ".json":
            return self._in_json(file, issue.where)
        beside = self._stems.get(file.stem)
        if beside is not None:
            return Place(beside.image, _yolo_box(file, issue.where, beside.size))
        return Place(file) if file.suffix.lower() in SUFFIXES and file.is_file() else None

    def _in_json(self, file: Path, pointer: str) -> Place | None:
        """What an entry of a JSON file names: COCO's through its picture's id, a picture's own file by its name."""
        document = _document(file)
        entries = list(_along(document, pointer))
        drawn = next((entry for entry in reversed(entries) if isinstance(entry, dict) and _box_in(entry)), None)
        box = None if drawn is None else _box_in(drawn, first="bbox" if "/bbox" in pointer else "")
        owner = next((entry for entry in reversed(entries) if isinstance(entry, dict) and "image_id" in entry), None)
        picture = next((e for e in reversed(entries) if isinstance(e, dict) and "file_name" in e), None)
        if owner is not None:
            images = _pictures_by_id(file)
            name = images.get(owner["image_id"]) if isinstance(owner["image_id"], int) else None
            return self._named(name, box)
        if picture is not None:
            return self._named(picture["file_name"], None)
        beside = self._stems.get(file.stem) or self._names.get(file.stem)
        return None if beside is None else Place(beside.image, box)

    def _named(self, name: object, box: Box | None) -> Place | None:
        if not isinstance(name, str):
            return None
        base = name.replace("\\", "/").rpartition("/")[2]
        found = self._names.get(base)
        if found is not None:
            return Place(found.image, box)
        lost = self._root / name
        return Place(lost, box) if not Path(name).is_absolute() and ".." not in name and lost.is_file() else None


def _box_of(record: Record, where: str) -> Box | None:
    """The box of the object that `where` names, by its number in the file or its place."""
    kind, _, number = where.rpartition(" ")
    if not number.isdigit():
        return None
    annotations = record.truth.annotations
    if kind == "annotation id":
        found = next((annotation for annotation in annotations if annotation.id == int(number)), None)
    else:
        found = annotations[int(number) - 1] if 0 < int(number) <= len(annotations) else None
    return None if found is None else _extent(found, record)


def _extent(annotation: Annotation, record: Record) -> Box | None:
    match annotation.shape:
        case Polygons():
            return annotation.shape.extent
        case Rle() | MaskFile():
            try:
                x1, y1, x2, y2 = draw_shapes([annotation.shape], record.size, record.image).boxes()[0].tolist()
            except DataError:
                return None
            return x1, y1, x2, y2
        case _:
            return annotation.box


def _along(document: Any, pointer: str) -> Iterator[Any]:
    """The values that a JSON pointer passes, as far as it leads."""
    here = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict) and key in here:
            here = here[key]
        elif isinstance(here, list) and key.isdigit() and int(key) < len(here):
            here = here[int(key)]
        else:
            return
        yield here


def _box_in(entry: dict[str, Any], *, first: str = "") -> Box | None:
    """The extent of the outline that an entry has, `first` before others; COCO's box is x, y, width, height."""
    for key in sorted(_OUTLINES, key=lambda key: key != first):
        numbers = list(_numbers(entry.get(key)))
        if key == "bbox" and len(numbers) == 4:
            x, y, width, height = numbers
            numbers = [x, y, x + width, y + height]
        if len(numbers) >= 4 and not isinstance(entry.get(key), dict):
            return _around(numbers)
    return None


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for item in value[:100_000]:
            yield from _numbers(item)
    elif type(value) in (int, float) and abs(value) < _FARTHEST:  # which no NaN is
        yield float(value)


def _around(numbers: Sequence[float]) -> Box:
    across, down = numbers[0::2], numbers[1::2]
    return min(across), min(down), max(across), max(down)


def _yolo_box(file: Path, where: str, size: tuple[int, int]) -> Box | None:
    """The extent of a line of numbers from 0 to 1: class and box (center, width, height), or class and outline."""
    number = where.rpartition(" ")[2]
    if file.suffix.lower() != ".txt" or not number.isdigit() or not file.is_file():
        return None
    lines = file.read_text("utf-8", "replace").splitlines()
    words = lines[int(number) - 1].split()[1:] if 0 < int(number) <= len(lines) else []
    try:
        numbers = [float(word) for word in words if math.isfinite(float(word))]
    except ValueError:
        return None
    if len(numbers) == 4:
        x, y, width, height = numbers
        numbers = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    if len(numbers) < 4:
        return None
    x1, y1, x2, y2 = _around(numbers[: len(numbers) // 2 * 2])
    return x1 * size[1], y1 * size[0], x2 * size[1], y2 * size[0]


@lru_cache(maxsize=2)
def _document(file: Path) -> Any:
    """What a JSON file holds; None where it is none, or too large to be read once more only for pictures."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


@lru_cache(maxsize=2)
def _pictures_by_id(file: Path) -> dict[int, Any]:
    document = _document(file)
    images = document.get("images") if isinstance(document, dict) else None
    entries = images if isinstance(images, list) else []
    return {
        entry["id"]: entry.get("file_name")
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), int)
    }
