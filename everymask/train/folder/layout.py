"""The folder of a run: taken by one process at a time, never overwritten by accident."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from everymask.core.files import clear_leftovers
from everymask.core.processes.rank import ALONE, Rank
from everymask.data.identity.content import DATA
from everymask.errors import ConfigError, MachineError, printable
from everymask.train.folder.ended import ENDED
from everymask.train.folder.lock import LOCK, locked

CONFIG, ORIGIN, SPLITS = "config.json", "origin.json", "splits.json"
BEST = "best.safetensors"
"""The file in a run folder that is enough to predict."""
STATE, LOG, NONFINITE = "state", "log.jsonl", "nonfinite.json"
_OURS = (
    CONFIG,
    ORIGIN,
    LOG,
    BEST,
    SPLITS,
    DATA,
    "report.html",
    NONFINITE,
    ENDED,
    STATE,
    "tensorboard",
)


@contextmanager
def open_folder(
    path: str | Path, *, resume: bool, overwrite: bool, data: str | Path = "", rank: Rank = ALONE
) -> Iterator[Path]:
    """The run folder, made if need be and locked against other processes within the block.

    It must be new or empty; `resume` wants a run in it, `overwrite` allows one, which `clear_folder` then removes.
    Where nothing was added to it within the block, nothing remains that was not there before. `ConfigError` where it
    cannot be taken, when another process works there, or when it lies inside `data`; `MachineError` when it cannot be
    written. Of several processes the first does all this for the others.
    """
    folder = Path(path)
    if not rank.leads:
        yield folder
        return
    check_outside(folder, data)
    with ExitStack() as held:
        try:
            held.callback(_remove_empty, [place for place in (folder, *folder.parents) if not place.exists()])
            folder.mkdir(parents=True, exist_ok=True)
            before = set(folder.iterdir())
            held.enter_context(locked(folder))
            clear_leftovers(folder)
            held.callback(_withdraw, folder, before)
            _check(folder, resume, overwrite)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MachineError(f"cannot write the run folder {printable(folder)}: {reason}") from error
        yield folder


def check_outside(folder: Path, data: str | Path) -> None:
    """`ConfigError` where the run folder would lie inside the data."""
    if data and Path(data).is_dir() and folder.resolve().is_relative_to(Path(data).resolve()):
        raise ConfigError(
            f"the run folder {printable(folder)} lies inside the data {printable(data)}", hint="choose another --out"
        )


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


def _withdraw(folder: Path, before: set[Path]) -> None:
    """Remove the lock where it is all that came to the files that were there `before`."""
    # Windows keeps the name of an open file; there the lock takes it along when it is released.
    with suppress(OSError):
        if set(folder.iterdir()) - before == {folder / LOCK}:
            (folder / LOCK).unlink()


def _check(folder: Path, resume: bool, overwrite: bool) -> None:
    found = sorted(child.name for child in folder.iterdir() if child.name != LOCK)
    has_run = _is_run(folder, found)
    if resume:
        if not has_run:
            raise ConfigError(f"there is no run to continue in {printable(folder)}", hint="start it without --resume")
        if CONFIG not in found:
            raise ConfigError(
                f"the run in {printable(folder)} ended before its first step: there is no {CONFIG}",
                hint="start it anew with --overwrite",
            )
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


def _is_run(folder: Path, found: list[str]) -> bool:
    """Whether the files called `found` are a run's, also of one that was killed before it began, or was damaged."""
    if {ORIGIN, SPLITS} & set(found) and set(found) <= set(_OURS):
        return True
    try:
        return "model" in json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return False
