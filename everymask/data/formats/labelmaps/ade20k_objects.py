"""ADE20K as it was released first, of 2016, 2017 and 2021: every object by itself, of thousands of classes.

    images/training/.../X.jpg            beside it
    .../X_seg.png                        R / 10 * 256 + G is the class of a pixel, 0 is none, and B which object it is
    .../X_atr.txt                        001 # 0 # 0 # wall # wall # ""  object by B's order, part level, hidden, name
    .../X.json                           of 2021: annotation.object, each with name_ndx, the class, and its name

Every class has objects: which are stuff, `--things` and `--stuff` say. Maps of parts (`X_parts_1.png`) are passed over.
`classes.txt` in the root fixes the order of the classes, which is else that of their numbers. Source: Zhou et al. 2019,
"Semantic understanding of scenes through the ADE20K dataset", and its `loadAde20K`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.files import write_text
from everymask.core.labels import labels_of
from everymask.data.coding import count_values
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import report_ignored
from everymask.data.formats.folders import (
    copy_picture,
    file_stem,
    names_text,
    read_names,
    report_size,
    split_of,
    unique_ids,
)
from everymask.data.formats.instance_pngs import check_paintable, paint_objects
from everymask.data.formats.pairs import files_below
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import colours_of, read_numbers
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import pictures_among, write_image
from everymask.data.records import Annotation, MaskFile, Objects, Record
from everymask.data.strict.content import whole_number
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable

_ENDING = "_seg"
_DEPTH = 6
_STEP, _EACH = 10, 256
_MOST_CLASSES = 25 * _EACH
_MOST_OBJECTS = 255
_THREADS = 8
_LOOKED_AT = 5
_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}


def looks_like_ade20k_objects(path: Path) -> bool:
    """Whether the folder has maps of objects with their texts beside them, the first of them coded as ADE20K's are."""
    some = islice(_maps(path), _LOOKED_AT)
    first = next((file for file in some if any(text.is_file() for text in _texts(file))), None)
    if first is None:
        return False
    try:
        return not ((read_numbers(first) & 255) % _STEP).any()
    except DataError:
        return True  # whose reader says what is wrong with it


def read_ade20k_objects(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The objects in a folder of ADE20K's first layout; this module's text says how it is read.

    Every map is decoded once to find its objects. Raises `DataError` with all defects under the strict policy: maps
    without a picture or of another size, colours that are no class, objects without a name; with `"skip"` defective
    pictures are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = _pairs(root, issues)
    headers = read_headers([picture for picture, _ in pairs], issues)
    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(_tried, [file for _, file in pairs]))
    names: dict[int, str] = {}
    read: list[tuple[Path, tuple[int, int], list[_Object]]] = []
    for (picture, file), header, found in zip(pairs, headers, seen, strict=True):
        if isinstance(found, DataError):
            message = found.message.removeprefix(f"{printable(file)}: ")
            issues.error("mask", message, file=file, hint=found.hint)
        elif header is not None and header.size != found.size:
            report_size(file, found.size, header.size, issues)
        elif header is not None and (objects := _objects(file, found, names, issues)) is not None:
            read.append((picture, header.size, objects))
    listing = root / "classes.txt"
    listed = read_names(listing, issues) if listing.is_file() else ()
    classes = tuple(dict.fromkeys((*listed, *(names[number] for number in sorted(names)))))
    class_ids = {name: class_id for class_id, name in enumerate(classes)}
    records = []
    for (picture, size, objects), name in zip(read, unique_ids([row[0] for row in read], root), strict=True):
        file = _map_of(picture)
        shapes = tuple(
            Annotation(class_ids[names[one.number]], MaskFile(file, one.colour, coloured=True), id=one.place)
            for one in objects
        )
        records.append(Record(name, picture, size, Objects(shapes), split_of(picture, root)))
    if not pairs:
        issues.error("no-pictures", f"expected pictures with X{_ENDING}.png beside them", file=root)
    noted = issues.finish(f"maps of objects in {printable(root)}")
    return Dataset(labels_of(classes), tuple(records), "ade20k-objects", root, noted)


def write_ade20k_objects(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures with maps and texts of their objects, below training, validation and testing where there are
    splits, and `classes.txt`.

    `DataError` for what a map cannot hold: objects without a mask, crowds, objects that overlap, more than 255 of them
    in a picture, or more than 6,399 classes; and for names with a `#`.
    """
    root, names = Path(folder), dataset.labels.names
    listing = names_text(names)
    if len(names) >= _MOST_CLASSES or any("#" in name for name in names):
        raise DataError(
            f"ADE20K's files hold {_MOST_CLASSES - 1:,} classes, whose names are without #, but there are "
            f"{len(names):,}: {printable(names[0])} ...",
            hint="write the data set as COCO",
        )
    check_paintable(dataset, _MOST_OBJECTS)
    for index, record in enumerate(dataset.records):
        place = root / "images" / _FOLDERS.get(record.split or "", record.split or "")
        copy_picture(record, place)
        kinds = dataset.objects(index).class_ids.tolist()
        ids = paint_objects(dataset, index).astype(np.int32)
        codes = np.array([0, *((_code(kind + 1, number)) for number, kind in enumerate(kinds, 1))], np.int32)
        write_image(place / f"{file_stem(record)}{_ENDING}.png", colours_of(codes[ids]))
        rows = [f'{number:03} # 0 # 0 # {names[kind]} # {names[kind]} # ""\n' for number, kind in enumerate(kinds, 1)]
        if rows:
            write_text(place / f"{file_stem(record)}_atr.txt", "".join(rows))
    write_text(root / "classes.txt", listing)
    report_ignored(root, dataset)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A map: its size (H, W), and the pixels of each number R + 256 G + 65536 B."""

    size: tuple[int, int]
    pixels: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Object:
    """An object: its number in the colours of the map, the number of its class, and its place by B's order, from 1."""

    colour: int
    number: int
    place: int


def _code(number: int, place: int) -> int:
    """The number R + 256 G + 65536 B of a colour for a class and an object."""
    return number // _EACH * _STEP + _EACH * (number % _EACH) + 65536 * place


def _maps(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (file for file in files_below(root, _DEPTH) if file.name.endswith(f"{_ENDING}.png"))


def _map_of(picture: Path) -> Path:
    return picture.with_name(f"{picture.stem}{_ENDING}.png")


def _texts(file: Path) -> tuple[Path, Path]:
    """The texts that say what the objects of a map are."""
    stem = file.stem.removesuffix(_ENDING)
    return file.with_name(f"{stem}.json"), file.with_name(f"{stem}_atr.txt")


def _pairs(root: Path, issues: IssueLog) -> list[tuple[Path, Path]]:
    """Pictures with their maps; `issues` is told of those that stay alone."""
    files = list(files_below(root, _DEPTH))
    maps = {file for file in files if file.name.endswith(f"{_ENDING}.png")}
    parts = [file for file in files if "_parts_" in file.stem]
    for file in parts:
        issues.warn_shared("parts", "{count} maps of parts of objects are passed over", file=file)
    pictures = [file for file in pictures_among(files) if file not in maps and "_parts_" not in file.stem]
    pairs = []
    for picture in pictures:
        file = _map_of(picture)
        if file in maps:
            maps.discard(file)
            pairs.append((picture, file))
        else:
            message, hint = "the picture has no map of its objects", f"expected {file.name} beside it"
            issues.error("mask-missing", message, file=picture, hint=hint)
    for file in sorted(maps):
        issues.error(
            "picture-missing", "the map belongs to no picture", file=file, hint="remove it, or add the picture"
        )
    return pairs


def _tried(file: Path) -> _Seen | DataError:
    try:
        ids = read_numbers(file)
    except DataError as error:
        return error
    return _Seen((ids.shape[0], ids.shape[1]), count_values(ids))


def _objects(file: Path, seen: _Seen, names: dict[int, str], issues: IssueLog) -> list[_Object] | None:
    """The objects of a map, whose classes `names` knows then; None where `issues` was told what is wrong with it."""
    codes = sorted(seen.pixels)
    wrong = [code for code in codes if (code & 255) % _STEP or (code >> 16 and not code & 0xFFFF)]
    for code in wrong:
        message = f"{seen.pixels[code]:,} pixels have a colour that is no class: R is 10 times a number, or R and G 0"
        shown = f"colour {code & 255}, {code >> 8 & 255}, {code >> 16}"
        issues.error("unknown-colour", message, file=file, where=shown, hint="were the maps resized or smoothed?")
    if wrong:
        return None
    order = {blue: place for place, blue in enumerate(sorted({code >> 16 for code in codes} - {0}), 1)}
    found = [
        _Object(code, (code & 255) // _STEP * _EACH + (code >> 8 & 255), order.get(code >> 16, 0))
        for code in codes
        if code & 0xFFFF
    ]
    by_class, by_place = _named(file, issues)
    for one in found:
        name = by_class.get(one.number) or by_place.get(one.place) or names.get(one.number)
        if name is None:
            message = f"object {one.place} has the class {one.number}, but no text names it"
            issues.error("class-missing", message, file=file, hint=f"expected {_texts(file)[1].name} with its name")
            return None
        if names.setdefault(one.number, name) != name:
            message = "{count} objects are called otherwise than the first of their class"
            issues.warn_shared("class-names", message, file=file)
    return found


def _named(file: Path, issues: IssueLog) -> tuple[dict[int, str], dict[int, str]]:
    """The names by the numbers of classes, and by the places of objects."""
    listing, text = _texts(file)
    if listing.is_file():
        document = read_strict_json(listing, issues)
        return {row["name_ndx"]: row["name"] for row in _rows(document) if _is_named(row)}, {}
    if not text.is_file():
        return {}, {}
    names: dict[int, str] = {}
    try:
        lines = text.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        issues.error("unreadable", f"cannot be read: {error.strerror or error}", file=text)
        return {}, {}
    for number, line in enumerate(lines, 1):
        fields = [part.strip() for part in line.split("#")]
        if not line.strip() or (len(fields) > 1 and whole_number(fields[1])):
            continue  # a part of an object
        place = whole_number(fields[0])
        if len(fields) < 4 or place is None or not fields[3]:
            message = "expected: number # part level # hidden # name # raw name # attributes"
            issues.error("object-text", message, file=text, where=f"line {number}", value=line)
        else:
            names[place] = fields[3]
    return {}, names


def _rows(document: Any) -> list[Any]:
    found = document.get("annotation") if isinstance(document, dict) else None
    rows = found.get("object") if isinstance(found, dict) else None
    return rows if isinstance(rows, list) else []


def _is_named(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    return type(row.get("name_ndx")) is int and isinstance(row.get("name"), str) and bool(row["name"].strip())
