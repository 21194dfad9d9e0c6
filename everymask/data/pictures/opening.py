"""Where a picture's bytes come from: a file by its path, the memory, or a file that is open already."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias, TypeGuard

from everymask.data.pictures.kinds import open_regular
from everymask.errors import DataError, EverymaskError, MachineError, UnusableHere, printable

Readable: TypeAlias = "str | Path | bytes | bytearray | memoryview | IO[bytes]"
"""A path, the bytes of a picture file, or a file that was opened in binary mode."""
_NAMELESS = "picture given as bytes"
_NO_FILE = (errno.ENOENT, errno.ENOTDIR)
_DAMAGE = (errno.EINVAL, errno.EOVERFLOW)  # a place that no file can have, as damaged headers name them
_MACHINE = (errno.EMFILE, errno.ENFILE)  # no fault of this file: the next one would meet it too


@contextmanager
def open_source(source: Readable) -> Iterator[tuple[IO[bytes], Path]]:
    """A stream of the picture's bytes that can be sought in, and what messages call it: its path, if it has one.

    An open file is read from where it stands to its end, where it is left, so that it need not be one that can be
    sought in. Within, errors are as by `picture_errors`; `DataError` too where there are no bytes.
    """
    file = _name_of(source)
    with picture_errors(file):
        if isinstance(source, str | Path):
            with open_regular(file) as stream:
                yield stream, file
        else:
            with io.BytesIO(_bytes_of(source, file)) as stream:
                yield stream, file


def is_open_file(source: object) -> TypeGuard[IO[bytes]]:
    """Whether something can be read like a file."""
    return callable(getattr(source, "read", None))


@contextmanager
def picture_errors(file: Path) -> Iterator[None]:
    """Turn what reading `file` may raise into `DataError` with its name.

    That is an `UnusableHere` where the disk, a permission or the memory is in the way of this file, and `MachineError`
    where no file can be read.
    """
    try:
        yield
    except EverymaskError:
        raise
    except MemoryError as error:
        raise UnusableHere(f"{printable(file)}: not enough memory to decode the picture") from error
    except Exception as error:  # damaged files make Pillow's parsers raise nearly every class
        if isinstance(error, OSError) and error.errno in _NO_FILE:
            raise DataError(f"{printable(file)}: there is no such file") from error
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _DAMAGE:
            kind = MachineError if error.errno in _MACHINE else UnusableHere
            raise kind(f"{printable(file)}: cannot be read: {error.strerror}") from error
        raise _damaged(file, error) from error


@contextmanager
def needing(count: int, file: Path) -> Iterator[None]:
    """Within, a picture of `count` bytes is decoded; where more is asked for than it can need, the file is damaged.

    Damaged files name lengths of their own. Memory for twice the picture says that it has not really run out.
    """
    try:
        yield
    except MemoryError as error:
        with suppress(MemoryError):
            bytearray(2 * count)
            raise _damaged(file, "it asks for more memory than its pixels need") from error
        raise


def _damaged(file: Path, reason: object) -> DataError:
    return DataError(
        f"{printable(file)}: the picture is damaged or cut short ({printable(reason)})",
        hint="fetch or export the file again",
    )


def _name_of(source: Readable) -> Path:
    if isinstance(source, str | Path):
        return Path(source)
    name = getattr(source, "name", None)
    return Path(name) if isinstance(name, str) and name else Path(_NAMELESS)


def _bytes_of(source: bytes | bytearray | memoryview | IO[bytes], file: Path) -> bytes:
    data: object = source.read() if is_open_file(source) else source
    if isinstance(data, str):
        raise DataError(
            f"{printable(file)}: expected bytes, but the file gives text",
            hint='open it in binary mode: open(path, "rb")',
        )
    if not isinstance(data, bytes | bytearray | memoryview):
        raise DataError(f"{printable(file)}: expected bytes, but reading gives {type(data).__name__}")
    if not len(data):
        hint = "a file is read from where it stands: seek(0) goes back to its beginning" if is_open_file(source) else ""
        raise DataError(f"{printable(file)}: there are no bytes", hint=hint)
    return bytes(data)
