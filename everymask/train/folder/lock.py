"""One process at a time in a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from everymask.errors import ConfigError, printable

LOCK = ".lock"
_TRIES = 5
_LOOKED_AT = 0.2  # seconds to wait for those who only look whether it is held


@contextmanager
def locked(folder: Path, what: str = "training") -> Iterator[None]:
    """Hold the lock of `folder`, which is made if need be, within the block, for `what` is done there.

    The system frees it when the process ends, however it ends: what a killed one left locks nobody out. The text of the
    file only says whose the lock is. On NFS the lock holds for all hosts if the server has locks and the mount uses
    them (not with `local_lock`). Where the file system has none, an `OSError` says so: a file that only pretends to be
    a lock would outlive a killed process. `ConfigError` names the process that holds the lock.
    """
    # 30 ms, which asking for help need not wait for.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=_LOOKED_AT, poll_interval=0.01, fallback_to_soft=False, on_acquired=_sign)
    for left in reversed(range(_TRIES)):
        with suppress(Timeout, FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            break
        # A lock without a name was withdrawn, perhaps with its folder, while it was being taken: it is taken anew.
        if (folder / LOCK).exists() or not left:
            raise ConfigError(
                f"another {what} works in {printable(folder)}: {_signature(folder / LOCK) or 'process unknown'}",
                hint="wait for it, or choose another --out",
            )
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of `folder`. Nothing is written; False where that cannot be found out."""
    try:
        import fcntl
    except ImportError:  # Windows locks the first byte, and then nobody else can read it
        return _is_refused(folder / LOCK)
    with suppress(FileNotFoundError, PermissionError), (folder / LOCK).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _is_refused(file: Path) -> bool:
    try:
        file.read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _sign(file: int) -> None:
    """Behind the first byte: that is what Windows locks, and then nobody else can read it."""
    os.ftruncate(file, 0)
    os.write(file, f"\nprocess {os.getpid()} on {socket.gethostname()}".encode())


def _signature(file: Path) -> str:
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(1)
        return printable(stream.read().decode(errors="replace").strip())
    return ""
