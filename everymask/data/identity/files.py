"""Digests of files, which need not be read again while the file system says that nothing was written to them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from everymask.data.pictures.kinds import open_regular
from everymask.data.pictures.opening import picture_errors

SETTLED = 2_000_000_000
"""A file that changed less than so many nanoseconds ago may change again without its time changing."""
_SECOND = 1_000_000_000
_THREADS = 8
_INODE = 2**63 - 1
_BYTES = 16
_PART = 1 << 20


class Mark(NamedTuple):
    """By what an unchanged file is known again: bytes, times of writing and of change in ns, inode; or only zeros.

    Files of one size may have as many bytes, and what copies or unpacks files may keep their times of writing.
    """

    num_bytes: int = 0
    written: int = 0
    changed: int = 0
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """The `digest` of a file, and its `mark` when it was read.

    `lasting` says that another content would have another mark, as far as the file system can be trusted.
    """

    mark: Mark
    digest: str
    lasting: bool


def mark_of(file: Path | IO[bytes]) -> Mark:
    """The mark of a file, or of one that is open; `OSError` where it has none, `ValueError` where it can have none."""
    status = os.fstat(file.fileno()) if not isinstance(file, Path) else file.stat()
    return Mark(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODE)


def see_files(
    files: Iterable[Path], known: Mapping[Mark, str], *, progress: Callable[[int, int], None] | None = None
) -> dict[Path, Seen]:
    """The digest of each file; those whose marks are `known` are not read.

    `progress(done, total)` is called after each. Raises what `read_image` raises for files that cannot be read.
    """
    listed = list(dict.fromkeys(files))
    found: dict[Path, Seen] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, seen in zip(listed, pool.map(partial(_see, known=known), listed), strict=True):
            found[file] = seen
            if progress is not None:
                progress(len(found), len(listed))
    return found


def digest_of(stream: IO[bytes]) -> str:
    """The digest of what is left in a stream: BLAKE2b of 128 bits, in hexadecimal."""
    found = hashlib.blake2b(digest_size=_BYTES)
    while part := stream.read(_PART):
        found.update(part)
    return found.hexdigest()


def _see(file: Path, known: Mapping[Mark, str]) -> Seen:
    with picture_errors(file):
        mark = mark_of(file)
        if mark in known:
            return Seen(mark, known[mark], True)
        with open_regular(file) as stream:
            # Before it is read: what is written meanwhile gives it another mark.
            mark = mark_of(stream)
            return Seen(mark, digest_of(stream), _lasting(mark, time.time_ns()))


def _lasting(mark: Mark, now: int) -> bool:
    """Whether what is written to the file from now on shows in its mark.

    A program can set the time of writing to what it was, but not the time of change; Windows has none. File systems
    that count whole seconds often keep no time of change either, and one that is given out as an image may have the
    same times for all that it holds.
    """
    return os.name != "nt" and mark.changed % _SECOND != 0 and now - mark.changed > SETTLED
