"""Files and folders that appear whole or not at all, and the order of names with numbers."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from everymask.errors import ConfigError, MachineError

_LEFTOVER = re.compile(r"\.[0-9a-f]{32}(\.\w+)?")
_NUMBER = re.compile(r"(\d+)")


def clear_leftovers(folder: Path, *, older: float = 0.0) -> None:
    """Remove what writing whole files and folders leaves in `folder` where it is killed.

    Nobody may be writing there what was begun more than `older` seconds ago.
    """
    for path in folder.iterdir() if is_folder(folder) else ():
        if _LEFTOVER.fullmatch(path.name) and _age(path) >= older:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since it was last written; 0 where it is gone, or from the future."""
    with suppress(OSError):
        return max(0.0, time.time() - path.lstat().st_mtime)
    return 0.0


def is_there(path: str | Path) -> bool:
    """Whether there is a file or folder; False where that cannot be found out (a name too long, a forbidden folder)."""
    with suppress(OSError, ValueError):
        return Path(path).exists()
    return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; False where that cannot be found out."""
    with suppress(OSError, ValueError):
        return Path(path).is_dir()
    return False


def real_path(path: str | Path) -> Path:
    """The absolute path behind all links, as far as they can be followed: a link to itself stays."""
    with suppress(ValueError):
        return Path(os.path.realpath(path))
    return Path(path)


def refused(target: Path, error: Exception, needed: int = 0) -> MachineError:
    """The error for a file or folder that could not be written; of a full disk it says how much room there is.

    `needed` is how many bytes were to be written, as far as that is known.
    """
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    with suppress(OSError):
        free = shutil.disk_usage(target.parent).free
        if free < needed:
            reason += f"; it needs {needed:,} bytes, but {free:,} are free: {needed - free:,} are missing"
        elif getattr(error, "errno", None) == errno.ENOSPC:
            reason += f"; {free:,} bytes are free"
    return MachineError(f"cannot write {target}: {reason}")


@contextmanager
def whole_file(path: str | Path, needed: int = 0) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    Whatever is killed or fails leaves the old file or the whole new one. Folders above are made. `MachineError` names
    the path when the disk refuses, and how many of the `needed` bytes are missing where that is known.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"cannot write {target}: {error.strerror or error}") from error
    temporary = target.parent / f".{uuid.uuid4().hex}{target.suffix}"
    try:
        yield temporary
        with temporary.open("r+b") as stream:  # Windows flushes only what may be written
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise refused(target, error, needed) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success it is renamed to `path`, which must be new or empty.

    Whatever fails leaves nothing behind. `ConfigError` when there is something at `path`, `MachineError` when the disk
    refuses.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        kind = "a folder that is not empty" if target.is_dir() else "a file"
        raise ConfigError(f"{target} must be a new or empty folder, but it is {kind}", hint="choose another one")
    temporary = target.parent / f".{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise MachineError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file or none."""
    with whole_file(path, len(data)) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole UTF-8 file with Unix line ends, or none."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, data: Any, *, indent: int | None = None) -> None:
    """Write a whole JSON file or none; NaN and infinities are refused.

    Text that UTF-8 cannot hold (file names in another encoding) is written in escapes, which JSON reads back the same.
    """
    separators = (",", ":") if indent is None else None
    encode = partial(json.dumps, data, indent=indent, separators=separators, allow_nan=False)
    try:
        text = encode(ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        text = encode().encode("ascii")
    write_bytes(path, text + b"\n")


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by their paths, in which numbers count as numbers: frame2.png before frame10.png."""
    return sorted(files, key=lambda file: ([number_key(part) for part in file.parts], str(file)))


def number_key(name: str) -> list[tuple[int, str]]:
    """By what names are sorted: their text and numbers in turn."""
    pieces = _NUMBER.split(name.casefold())
    return [(int(piece), "") if place % 2 else (0, piece) for place, piece in enumerate(pieces)]
