"""Which way up a picture is to be displayed: the orientation flag of its EXIF block."""

from __future__ import annotations

import logging
import os
import struct
from typing import IO

import numpy as np

from everymask.core.arrays import Array

_log = logging.getLogger(__name__)


def late_exif(stream: IO[bytes]) -> bytes:
    """The eXIf chunk of a PNG, which may stand behind the pixels; empty if there is none."""
    stream.seek(8)
    while len(start := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"eXIf":
            return stream.read(min(length, 1 << 16))
        stream.seek(length + 4, os.SEEK_CUR)
    return b""


def read_orientation(exif: object) -> int:
    """The orientation tag of the first directory of an EXIF block; 1 where there is none or it is invalid."""
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, entry)
            if tag == 0x0112:
                return valid_orientation(value if kind == 3 else 0)
    except struct.error:
        _log.warning("a picture's EXIF block is damaged; its orientation is taken as upright")
    return 1


def valid_orientation(value: object) -> int:
    """The flag if it is one, 1 to 8; else 1, with a logged warning."""
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    _log.warning("a picture's EXIF orientation is %s, which does not exist; taken as 1", value)
    return 1


def turn_upright(pixels: Array, orientation: int) -> Array:
    """The stored array [H, W, C] turned into the displayed frame (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
