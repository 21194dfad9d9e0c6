"""Pictures that cannot be read, each for a reason of its own."""

from __future__ import annotations

import errno
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from everymask.data.pictures.read import write_image

FAULTY = "faulty"

TAGS = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 278: 4}


def write_far_tiff(path: Path) -> None:
    """A grey TIFF of 8 x 8 pixels in two strips, of which the second is said to lie beyond all files (BigTIFF)."""
    tags = TAGS | {273: (300, 7_001_408_570_700_863_888), 279: (32, 32)}
    rest = 16 + 8 + 20 * len(tags) + 8
    entries = longs = b""
    for tag, value in tags.items():
        if isinstance(value, tuple):
            entries += struct.pack("<HHQQ", tag, 16, 2, rest + len(longs))
            longs += struct.pack("<2Q", *value)
        else:
            entries += struct.pack("<HHQQ", tag, 16, 1, value)
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    path.write_bytes((head + entries + bytes(8) + longs).ljust(340, b"\0"))


def write_faulty(path: Path) -> None:
    """A sound picture; a broken disk (`break_disk`) refuses to read it."""
    write_image(path.with_name(f"{FAULTY}{path.suffix}"), np.full((24, 30), 90, np.uint8))


class FaultyFile(io.BytesIO):
    """A file of which nothing can be read."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


def break_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called faulty lie on a broken part of the disk."""
    plain = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *mode, **more: FaultyFile() if self.stem == FAULTY else plain(self, *mode, **more)
    )


def write_loop(path: Path) -> None:
    """A link that leads to itself."""
    if sys.platform == "win32":
        pytest.skip("links need a permission here")
    path.symlink_to(path.name)


DAMAGED = [pytest.param(write_far_tiff, "bad.tif", 3, id="E02 a strip beyond the file")]
UNUSABLE = [
    pytest.param(write_faulty, "faulty.png", 4, id="A04 input/output error"),
    pytest.param(write_loop, "bad.png", 4, id="J02 a link to itself"),
]
BAD = DAMAGED + UNUSABLE
