"""Where a JPEG ends: files without an end marker, and files with something behind it."""

from __future__ import annotations

import io
import logging
import os
import re
from pathlib import Path
from typing import IO

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from everymask.errors import printable

_END = b"\xff\xd9"
# In compressed data FF is followed by 0 or by a restart marker; anything else begins a segment.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ALONE = (0x01, 0xD8)
_log = logging.getLogger(__name__)


def has_tail(stream: IO[bytes]) -> bool:
    """Whether something follows the end marker of the JPEG; the file is read only where it does not end in a marker."""
    stream.seek(-min(2, stream.seek(0, os.SEEK_END)), os.SEEK_END)
    if stream.read(2) == _END:
        return False
    stream.seek(0)
    data = stream.read()
    end = _end_of(data)
    return end is not None and end < len(data)


def _end_of(data: bytes) -> int | None:
    """The place behind the end marker, or None if there is none. Thumbnails lie in segments and are stepped over."""
    position = 2
    while found := _MARKER.search(data, position):
        code, position = data[found.end() - 1], found.end()
        if code == _END[1]:
            return position
        if code not in _ALONE:
            position += int.from_bytes(data[position : position + 2])
    return None


def decode_without_end(stream: IO[bytes], file: Path, error: OSError) -> ImageFile:
    """The picture, if all that the stream of `file` lacks is its end marker; else `error` is raised.

    libjpeg fills what is missing with whatever follows. So the file is complete if two different endings give the
    same pixels. Progressive files refine the picture scan by scan and cannot be judged so.
    """
    stream.seek(0)
    data = stream.read()
    if b"\xff\xc2" in data or data.endswith(_END):
        raise error
    data = data.removesuffix(b"\xff")  # half of the end marker, or of an escaped byte
    endings = (_END, bytes(range(1, 200)) * 8 + _END)
    first, second = (JpegImageFile(io.BytesIO(data + ending)) for ending in endings)
    if first.tobytes() != second.tobytes():
        raise error
    _log.warning("%s: the JPEG lacks its end marker, but all its pixels are there", printable(file))
    return first
