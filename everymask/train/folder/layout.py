"""The folder of a run: taken by one process at a time, never overwritten by accident."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from everymask.errors import ConfigError, MachineError, printable

CONFIG, ORIGIN, SPLITS = "config.json", "origin.json", "splits.json"
BEST = "best.safetensors"
"""The file in a run folder that is enough to predict."""
_OURS = (
    CONFIG,
    ORIGIN,
    "log.jsonl",
    BEST,
    SPLITS,
    "report.html",
    "nonfinite.json",
    "state",
    "tensorboard",
)
_LOCK = ".lock"
_TRIES = 5
_BEHIND_THE_TEXT = 1 << 20


@contextmanager
def open_folder(path: str | Path, *, resume: bool, overwrite: bool, data: str | Path = "") -> Iterator[Path]:
    """The run folder, made if need be and locked against other processes within the block.

    It must be new or empty; `resume` wants a run in it, `overwrite` allows one, which `clear_folder` then removes.
    Where nothing was added to it within the block, nothing remains that was not there before. `ConfigError` where it
    cannot be taken, when another process works there, or when it lies inside `data`; `MachineError` when it cannot be
    written.
    """
    folder = Path(path)
    if data and Path(data).is_dir() and folder.resolve().is_relative_to(Path(data).resolve()):
        raise ConfigError(
            f"the run folder {printable(folder)} lies inside the data {printable(data)}", hint="choose another --out"
        )
    with ExitStack() as held:
        try:
            held.callback(_remove_empty, [place for place in (folder, *folder.parents) if not place.exists()])
            folder.mkdir(parents=True, exist_ok=True)
            before = set(folder.iterdir())
            lock = held.enter_context(_locked(folder))
            held.callback(_withdraw, lock, folder, before)
            _check(folder, resume, overwrite)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MachineError(f"cannot write the run folder {printable(folder)}: {reason}") from error
        yield folder


def clear_folder(folder: Path) -> None:
    """Remove what a run leaves in its folder, and nothing else."""
    for name in _OURS:
        child = folder / name
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _withdraw(lock: IO[str], folder: Path, before: set[Path]) -> None:
    """Remove the lock where it is all that came to the files that were there `before`."""
    with suppress(OSError):
        if set(folder.iterdir()) - before == {folder / _LOCK}:
            if os.name == "nt":
                lock.close()  # an open file cannot be removed there
            (folder / _LOCK).unlink()


def _locked(folder: Path) -> IO[str]:
    """The open file that holds the folder's lock; the folder is made again where another process has removed it."""
    for left in reversed(range(_TRIES)):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+")
        try:
            _take(lock, folder)
            if not left or _has_name(lock, folder / _LOCK):
                break
        except BaseException:
            lock.close()
            raise
        lock.close()  # withdrawn by another process between opening and taking it
    return lock


def _has_name(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take(lock: IO[str], folder: Path) -> None:
    """The system frees the lock when its process ends, however it ends; the text only says whose it is."""
    try:
        _hold(lock)
    except (BlockingIOError, PermissionError):
        lock.seek(0)
        raise ConfigError(
            f"another training works in {printable(folder)}: {printable(lock.read().strip()) or 'process unknown'}",
            hint="wait for it, or choose another --out",
        ) from None
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()


def _hold(lock: IO[str]) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows: what is locked is a byte, which nobody else can read then. So it lies where there is no text.
        msvcrt: Any = importlib.import_module("msvcrt")
        os.lseek(lock.fileno(), _BEHIND_THE_TEXT, os.SEEK_SET)
        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        return
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check(folder: Path, resume: bool, overwrite: bool) -> None:
    found = sorted(child.name for child in folder.iterdir() if child.name != _LOCK)
    has_run = _is_run(folder)
    if resume:
        if not has_run:
            raise ConfigError(f"there is no run to continue in {printable(folder)}", hint="start it without --resume")
        return
    if overwrite and (has_run or not found):
        return
    if found:
        shown = ", ".join(found[:3]) + (" ..." if len(found) > 3 else "")
        raise ConfigError(
            f"the run folder {printable(folder)} is not empty: {printable(shown)}",
            hint="continue the run with --resume, replace it with --overwrite, or choose another --out"
            if has_run
            else "choose another --out",
        )


def _is_run(folder: Path) -> bool:
    try:
        return "model" in json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, TypeError):
        return False
