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

    lock = FileLock(folder / LOCK, blocking=False, fallback_to_soft=False, on_acquired=_sign)
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


def _sign(file: int) -> None:
    """Behind the first byte: that is what Windows locks, and then nobody else can read it."""
    os.ftruncate(file, 0)
    os.write(file, f"\nprocess {os.getpid()} on {socket.gethostname()}".encode())


def _signature(file: Path) -> str:
    with suppress(OSError), file.open("rb") as stream:
        stream.seek(1)
        return printable(stream.read().decode(errors="replace").strip())
    return ""
