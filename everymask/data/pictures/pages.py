"""The pages of a TIFF, each as a file of its own for the one reader of pictures."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from everymask.data.pictures.kinds import open_regular
from everymask.data.pictures.opening import picture_errors
from everymask.errors import DataError, printable

MOST_PAGES = 10_000
_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43
Place = tuple[int, int]
"""Where a page's directory begins, and where in it the place of the next one stands."""


def count_pages(file: Path) -> int:
    """How many pages a TIFF has, which is not decoded; 1 for files of other kinds.

    `DataError` for a damaged file, and for one of more than 10,000 pages; as `read_header` where it cannot be read.
    """
    with picture_errors(file), open_regular(file) as stream:
        return max(1, len(_places(stream, file)))


def pages_of(file: Path) -> Iterator[bytes]:
    """Each page as a TIFF that has no other; raises what `count_pages` does."""
    with picture_errors(file), open_regular(file) as stream:
        places = _places(stream, file)
        stream.seek(0)
        data = bytearray(stream.read())
    order, form, first = _form(bytes(data[:4]))
    width = struct.calcsize(form)
    for directory, follower in places:
        alone = data.copy()
        alone[first : first + width] = struct.pack(order + form, directory)
        alone[follower : follower + width] = bytes(width)
        yield bytes(alone)


def _form(head: bytes) -> tuple[str, str, int]:
    """The order of bytes, how a place is stored, and where that of the first page stands; an empty order: no TIFF."""
    order = _ORDERS.get(head[:2], "")
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) == 4 else 0
    if version == _CLASSIC:
        return order, "I", 4
    return (order, "Q", 8) if version == _BIG else ("", "I", 4)


def _places(stream: IO[bytes], file: Path) -> list[Place]:
    order, form, first = _form(stream.read(4))
    if not order:
        return []
    counted, entry = ("H", 12) if form == "I" else ("Q", 20)
    found: dict[int, int] = {}
    follower = first
    while directory := _number(stream, follower, order + form):
        if directory in found or len(found) == MOST_PAGES:
            raise DataError(f"{printable(file)}: expected at most {MOST_PAGES:,} pages, and none of them twice")
        entries = _number(stream, directory, order + counted)
        follower = directory + struct.calcsize(counted) + entry * entries
        found[directory] = follower
    return list(found.items())


def _number(stream: IO[bytes], place: int, form: str) -> int:
    stream.seek(place)
    found: int = struct.unpack(form, stream.read(struct.calcsize(form)))[0]
    return found
