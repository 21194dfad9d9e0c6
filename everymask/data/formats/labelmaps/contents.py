"""What label files hold: counted by decoding them, told by their headers, or remembered from the last time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import everymask
from everymask.core.arrays import Array
from everymask.core.cache import cache_folder
from everymask.core.files import write_json
from everymask.data.coding import LOSSY, colour_codes, count_values, read_brightness, read_colours
from everymask.data.identity.files import SETTLED as _SETTLED
from everymask.data.identity.files import Mark, mark_of
from everymask.data.pictures.read import read_header, read_storage, read_stored_map
from everymask.errors import DataError, MachineError

_THREADS = 8  # each holds a whole label map
_WORTH = 100_000_000
"""So many pixels take seconds to decode; fewer are always decoded, and what was counted is not remembered."""
_MOST_VALUES = 4096
_VERSION = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What a label file of `size` (H, W) holds: the number of pixels of each stored number, or colour as 0xRRGGBB.

    `pixels` is None where nothing was decoded. `coloured` says that they are colours; three equal channels are numbers,
    with `equal` True. Of a `lossy` format it is the brightness, since no number or colour survives it.
    """

    size: tuple[int, int]
    pixels: dict[int, int] | None
    coloured: bool = False
    equal: bool = False
    alpha_varies: bool = False
    lossy: bool = False


def count_contents(files: Sequence[Path]) -> list[Content | DataError]:
    """What each file holds, by decoding it, or why it cannot be read."""
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(_counted, files))


def declared_contents(files: Sequence[Path]) -> list[Content | DataError]:
    """What each file says of itself; decoded is what may hold colours or numbers, and what is no PNG.

    Where all files together take no time to decode, all are, each once.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_declared, files))
    sizes = [content.size for content in found if isinstance(content, Content)]
    if sum(height * width for height, width in sizes) >= _WORTH:
        return found
    contents = dict(zip(files, found, strict=True))
    rest = [file for file, content in contents.items() if isinstance(content, Content) and content.pixels is None]
    contents |= zip(rest, count_contents(rest), strict=True)
    return [contents[file] for file in files]


def remembered_contents(root: Path, files: Sequence[Path]) -> list[Content | DataError]:
    """What each file of the data set at `root` holds; files that did not change since are not decoded again.

    What was counted is kept in the user's cache folder, never in the data set, by each file's path and `Mark`, until
    another version of everymask counts. Without a cache that can be read or written everything is decoded.
    """
    place = _place(root)
    known: dict[str, list[Any]] = {}
    if place is not None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads(place.read_bytes())
            known = stored["maps"] if stored["version"] == [_VERSION, everymask.__version__] else {}
    found: dict[Path, Content | DataError] = {}
    marks = {file: _mark(file, root) for file in files}
    for file, (name, mark) in marks.items():
        with suppress(ValueError, TypeError, KeyError):
            found[file] = _from_row(known[name], mark)
    rest = [file for file in marks if file not in found]
    new = dict(zip(rest, count_contents(rest), strict=True))
    found |= new
    decoded = sum(content.size[0] * content.size[1] for content in new.values() if isinstance(content, Content))
    if place is not None and decoded >= _WORTH:
        settled = time.time_ns() - _SETTLED
        maps = {
            name: _row(content, mark)
            for file, (name, mark) in marks.items()
            if isinstance(content := found[file], Content)
            and len(content.pixels or ()) <= _MOST_VALUES
            and max(mark.written, mark.changed) < settled
        }
        try:
            version = [_VERSION, everymask.__version__]
            write_json(place, {"version": version, "root": str(root), "maps": maps})
        except MachineError as error:
            _log.info("what label maps hold is not remembered: %s", error.message)
    return [found[file] for file in files]


def _place(root: Path) -> Path | None:
    """The file that remembers the label maps below `root`; None where it cannot be outside of the data set."""
    try:
        whole, folder = root.resolve(), cache_folder().resolve()
    except (OSError, RuntimeError):
        return None
    name = hashlib.sha256(os.fsencode(whole)).hexdigest()[:32]
    return None if folder.is_relative_to(whole) else folder / "label-maps" / f"{name}.json"


def _mark(file: Path, root: Path) -> tuple[str, Mark]:
    """The file's path, and its mark."""
    name = file.relative_to(root) if file.is_relative_to(root) else file
    try:
        return name.as_posix(), mark_of(file)
    except (OSError, ValueError):
        return name.as_posix(), Mark()


def _row(content: Content, mark: Mark) -> list[Any]:
    pixels = [[value, count] for value, count in (content.pixels or {}).items()]
    return [*mark, *content.size, content.coloured, content.equal, content.alpha_varies, content.lossy, pixels]


def _from_row(row: list[Any], mark: Mark) -> Content:
    """The content that `_row` made; `ValueError` where the file has another `mark` or the row is no such."""
    *found, height, width, coloured, equal, alpha_varies, lossy, values = row
    pixels = {int(value): int(count) for value, count in values}
    if found != list(mark) or sum(pixels.values()) != height * width:
        raise ValueError("another file")
    return Content((height, width), pixels, bool(coloured), bool(equal), bool(alpha_varies), bool(lossy))


def _declared(file: Path) -> Content | DataError:
    try:
        header = read_header(file)
        if header.format == "PNG" and read_storage(file) != "colours":
            return Content(header.stored_size, None)
    except DataError as error:
        return error
    return _counted(file)


def _counted(file: Path) -> Content | DataError:
    try:
        if read_header(file).format in LOSSY:
            brightness = read_brightness(file)
            return Content(_size(brightness), count_values(brightness), lossy=True)
        if read_storage(file) != "colours":
            found = read_stored_map(file)
            return Content(_size(found.ids), count_values(found.ids), alpha_varies=found.alpha_varies)
        colours = read_colours(file)
        if (colours == colours[..., :1]).all():
            found = read_stored_map(file)
            return Content(_size(found.ids), count_values(found.ids), equal=True, alpha_varies=found.alpha_varies)
        return Content(_size(colours), count_values(colour_codes(colours)), coloured=True)
    except DataError as error:
        return error


def _size(array: Array) -> tuple[int, int]:
    height, width = array.shape[:2]
    return int(height), int(width)
