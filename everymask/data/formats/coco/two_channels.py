"""COCO panoptic maps of two channels, which say by themselves what each pixel is; the file lists pictures and classes.

    annotations/panoptic_val.json     images, and categories with isthing; no segments_info
    annotations/panoptic_val/X.png    R is the id of the category, G which of its segments; R 0 has no truth

The ids of the categories may also stand in panoptic_coco_categories.json beside it. Source: panopticapi,
`2channels2panoptic_coco_format.py`.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from everymask.core.segmentation import Segment
from everymask.data.coding import count_values
from everymask.data.formats.coco.panoptic_maps import map_bases, read_map_numbers
from everymask.data.formats.finding.named import NamedFiles
from everymask.data.formats.folders import report_size
from everymask.data.issues import IssueLog
from everymask.data.records import PanopticFile, Record
from everymask.errors import DataError, printable

CATEGORIES = "panoptic_coco_categories.json"
_THREADS = 8


def lists_pictures(file: Path) -> bool:
    """Whether a JSON file lists pictures and classes that are things or stuff, and says nothing of segments, without
    parsing it.
    """
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(b'"images"') < 0 or any(
                data.find(key) >= 0 for key in (b'"segments_info"', b'"segmentation"')
            ):
                return False
            return data.find(b'"isthing"') >= 0 or (file.with_name(CATEGORIES)).is_file()
    except (OSError, ValueError):  # mmap refuses empty files with ValueError
        return False


def with_channels(
    pictures: Sequence[Record], classes: Mapping[int, int], file: Path, files: NamedFiles, issues: IssueLog
) -> list[Record]:
    """The records of the pictures whose maps say what they show, by class ids by category id; `issues` is told why the
    others do not.
    """
    names = [f"{record.image.stem}.png" for record in pictures]
    bases = map_bases(file, names)
    found = []
    for record, name in zip(pictures, names, strict=True):
        path = files.look(name, bases, file=file)
        if path is None or path == record.image:
            message, hint = "the picture has no map of two channels; it is left out", f"put it into {file.stem}/{name}"
            issues.warn("unlabelled", message, file=record.image, hint=hint)
        else:
            found.append((record, path))
    with ThreadPoolExecutor(_THREADS) as pool:
        outcomes = pool.map(_tried, [path for _, path in found])
        read = [
            _read(record, path, seen, classes, issues) for (record, path), seen in zip(found, outcomes, strict=True)
        ]
    return [record for record in read if record is not None]


def _tried(path: Path) -> tuple[tuple[int, int], dict[int, int]] | DataError:
    """The size (H, W) of a map, and the pixels of each number R + 256 G + 65536 B."""
    try:
        ids = read_map_numbers(path)
    except DataError as error:
        return error
    return (ids.shape[0], ids.shape[1]), count_values(ids)


def _read(
    record: Record,
    path: Path,
    seen: tuple[tuple[int, int], dict[int, int]] | DataError,
    classes: Mapping[int, int],
    issues: IssueLog,
) -> Record | None:
    if isinstance(seen, DataError):
        message = seen.message.removeprefix(f"{printable(path)}: ")
        issues.error("panoptic-map", message, file=path, hint=seen.hint)
        return None
    size, pixels = seen
    if size != record.size:
        report_size(path, size, record.size, issues)
        return None
    numbers = sorted(pixels.keys() - {0})
    wrong = [number for number in numbers if number >> 16 or number & 255 not in classes]
    for number in wrong:
        red, green, blue = number & 255, number >> 8 & 255, number >> 16
        message = f"{pixels[number]:,} pixels have the colour ({red}, {green}, {blue}), but R is the id of no category"
        if blue:
            message = f"{pixels[number]:,} pixels have the colour ({red}, {green}, {blue}), but B stands for nothing"
        hint = "R is the category and G which segment of it; maps of other numbers need segments_info"
        issues.error("unknown-category", message, file=path, where=f"colour {red}, {green}, {blue}", hint=hint)
    if wrong:
        return None
    segments = tuple(Segment(number, classes[number & 255]) for number in numbers)
    return replace(record, truth=PanopticFile(path, segments))
