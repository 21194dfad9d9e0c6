"""The PNGs of segment numbers that a COCO panoptic file names: where they lie, and whether the two agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.coding import count_values
from everymask.data.formats.coco.panoptic_entries import ListedPicture
from everymask.data.formats.coco.pictures import around
from everymask.data.formats.finding.named import NamedFiles, is_file
from everymask.data.formats.folders import folders_in, report_size
from everymask.data.issues import IssueLog
from everymask.data.panoptic import read_numbers
from everymask.data.pictures.read import read_header, read_storage
from everymask.data.records import PanopticFile, Record
from everymask.errors import DataError, printable

MAP_FOLDERS = ("panoptic", "masks")
_THREADS = 8
_COLOURS, _BITS = 3, 8


def with_maps(
    listed: Sequence[ListedPicture], file: Path, files: NamedFiles, issues: IssueLog, *, decode: bool
) -> list[Record]:
    """The records of the pictures whose maps can be used; `issues` is told why the others cannot.

    With `decode` all maps are decoded and compared with what is listed; without it only their headers are read.
    """
    bases = map_bases(file, [one.name for one in listed])
    found = []
    for one in listed:
        where = f"{one.pointer}/file_name"
        path = files.find(one.name, bases, file=file, where=where)
        if path == one.record.image:
            message, hint = "there is no map of this name, only the picture", f"put the maps into {file.stem}/"
            issues.error("map-missing", message, file=file, where=where, value=one.name, hint=hint)
        elif path is not None:
            found.append((one, path))
    look = _counted if decode else _opened
    with ThreadPoolExecutor(_THREADS) as pool:
        outcomes = pool.map(partial(_tried, look), [path for _, path in found])
        records = []
        for (one, path), outcome in zip(found, outcomes, strict=True):
            if _agrees(one, path, outcome, file, issues):
                segments = tuple(segment.segment for segment in one.segments)
                records.append(replace(one.record, truth=PanopticFile(path, segments)))
    return records


@dataclass(frozen=True, slots=True)
class _Map:
    """What was seen of a map: its size (H, W), whether it is a palette file, and the pixels of each number, if it was
    decoded.
    """

    size: tuple[int, int]
    palette: bool
    pixels: dict[int, int] | None = None


def _tried(look: Callable[[Path], _Map], path: Path) -> _Map | DataError:
    try:
        return look(path)
    except DataError as error:
        return error


def _opened(path: Path) -> _Map:
    header = read_header(path)
    if header.channels < _COLOURS or header.bits > _BITS:
        raise DataError(
            f"{printable(path)}: expected colours of 3 x 8 bits, which stand for R + 256 G + 65536 B, but found "
            f"{header.channels} x {header.bits} bits",
            hint="grey or indexed numbers are another format: write each number as a colour",
        )
    return _Map(header.size, read_storage(path) == "palette")


def read_map_numbers(path: Path) -> IntArray:
    """The numbers [H, W] of a map; `DataError` where it has no colours of 8 bits."""
    _opened(path)
    return read_numbers(path)


def _counted(path: Path) -> _Map:
    seen = _opened(path)
    return replace(seen, pixels=count_values(read_numbers(path)))


def _agrees(one: ListedPicture, path: Path, seen: _Map | DataError, file: Path, issues: IssueLog) -> bool:
    """Whether a map and what is listed of it agree, up to areas; `issues` is told where they do not."""
    if isinstance(seen, DataError):
        message = seen.message.removeprefix(f"{printable(path)}: ")
        issues.error("panoptic-map", message, file=path, hint=seen.hint)
        return False
    if seen.size != one.record.size:
        report_size(path, seen.size, one.record.size, issues)
        return False
    if seen.palette:
        message = "{count} panoptic maps are palette files; the colours count, and not their numbers"
        issues.warn_shared("panoptic-palette", message, file=path, hint="save them as RGB PNG")
    if seen.pixels is None:
        return True
    listed = {row.segment.id: row for row in one.segments}
    unknown = sorted(seen.pixels.keys() - listed.keys() - {0})
    missing = [row for number, row in listed.items() if number not in seen.pixels]
    for number in unknown:
        message = f"{seen.pixels[number]:,} pixels have the number {number}, which {one.pointer} does not list"
        hint = "list every segment with its category, or paint 0 where there is no truth"
        issues.error("unlisted-segment", message, file=path, where=f"segment {number}", hint=hint)
    for row in missing:
        message = f"no pixel of the map has this number: {path.name}"
        hint = "remove the entry, or export the map again"
        issues.error("missing-segment", message, file=file, where=f"{row.pointer}/id", value=row.segment.id, hint=hint)
    if unknown or missing:
        return False
    for number, row in listed.items():
        if row.area is not None and row.area != seen.pixels[number]:
            message = f"the map has {seen.pixels[number]:,} pixels of the segment, which count"
            issues.warn("area", message, file=file, where=f"{row.pointer}/area", value=row.area)
    return True


def map_bases(file: Path, names: Sequence[str]) -> list[Path]:
    """The folders around an annotation file that the names of maps count from: that with the most of them first.

    It is usually called as the file.
    """
    tops = around(file)
    usual = [top / name for top in tops for name in (file.stem, *MAP_FOLDERS, "")]
    others = [sub for top in tops for sub in folders_in(top)]
    sample = names[:: max(1, len(names) // 50)][:50]
    places = [place for place in dict.fromkeys((*usual, *others)) if place.is_dir()]
    counts = np.array([sum(is_file(place / name) for name in sample if "\\" not in name) for place in places])
    best = [places[int(counts.argmax())]] if counts.any() else []
    return [*best, file.with_suffix(""), *tops]
