"""Runs of a list, trained one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from everymask.core.files import clear_leftovers, is_folder
from everymask.errors import ConfigError, EverymaskError, MachineError, printable
from everymask.settings.config import TrainConfig
from everymask.train.entry import train
from everymask.train.folder.ended import ENDED
from everymask.train.folder.layout import BEST, CONFIG, ORIGIN, STATE, check_outside, clear_folder
from everymask.train.folder.lock import LOCK, locked
from everymask.train.folder.progress import Run
from everymask.train.runs.listed import LIST, RunList, check_same, read_list, write_list
from everymask.train.runs.row import NoRun, read_row

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that could not be trained: why, and the exit code that says so."""

    folder: Path
    error: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What became of a list: the runs that failed, and the signal that ended it (0: none)."""

    failed: tuple[Failure, ...]
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """That of the first failure; 0 where all went well."""
        return self.failed[0].exit_code if self.failed else 0


def train_list(listed: RunList, *, overwrite: bool = False, say: Callable[[str], None]) -> Trained:
    """Train the runs of a list that are not finished, and tell `say` of each.

    Finished ones are skipped, those with a saved state go on, and the others begin; one that fails does not stop those
    behind it, and is tried again the next time. A signal ends the run at hand, which is saved, and the list. The folder
    must be new, empty or that of the same list; `overwrite` begins anew. Errors as in `open_folder` and `check_same`.
    """
    failed: list[Failure] = []
    with _opened(listed, overwrite=overwrite):
        for number, config in enumerate(listed.runs, start=1):
            what = f"[{number} of {len(listed.runs)}] {listed.name(config)}"
            how = "begin" if overwrite else next_for(Path(config.out))
            if how == "skip":
                say(f"{what}: finished already")
                continue
            say(f"{what}: {'goes on' if how == 'go on' else 'begins'}")
            ended = _trained(replace(config, resume=how == "go on", overwrite=overwrite or how == "begin anew"))
            if isinstance(ended, Failure):
                failed.append(ended)
                say(f"{what}: failed: {ended.error}")
            elif ended.signal:
                return Trained(tuple(failed), ended.signal)
    return Trained(tuple(failed))


def next_for(folder: Path) -> Literal["skip", "go on", "begin", "begin anew"]:
    """What is to be done for the run of a folder: nothing, to go on, to begin, or to begin where one was killed before
    it had saved anything.
    """
    try:
        row = read_row(folder)
    except NoRun:
        return "begin"
    # One without a word of its end was killed behind its last step: going on writes its report.
    if row.state == "finished" and (folder / ENDED).exists():
        return "skip"
    if any((folder / STATE).glob("step-*")):
        return "go on"
    killed_early = any((folder / name).exists() for name in (CONFIG, ORIGIN)) and not (folder / BEST).exists()
    return "begin anew" if killed_early else "begin"


def _trained(config: TrainConfig) -> Run | Failure:
    if torch.cuda.is_available():  # each run says how much it took itself
        torch.cuda.reset_peak_memory_stats()
    try:
        return train(config)
    except EverymaskError as error:
        return Failure(Path(config.out), str(error), error.exit_code)
    except Exception as error:
        # A slip of the program's in one run, of which its traceback tells, is none in the others.
        _log.exception("the run in %s failed", printable(config.out))
        return Failure(Path(config.out), f"{type(error).__name__}: {error}", 1)


@contextmanager
def _opened(listed: RunList, *, overwrite: bool) -> Iterator[None]:
    """Within the block nobody else works on the list in its folder, where it is written."""
    for run in listed.runs:
        check_outside(listed.out, run.data)
    _check(listed, overwrite=overwrite)
    with ExitStack() as held:
        try:
            held.enter_context(locked(listed.out))
            clear_leftovers(listed.out)
            for folder in _kept(listed.out) if overwrite else ():
                if folder not in listed.folders and folder.is_dir():
                    clear_folder(folder)
        except OSError as error:
            raise MachineError(f"cannot write {printable(listed.out)}: {error.strerror or error}") from error
        write_list(listed)
        yield


def _check(listed: RunList, *, overwrite: bool) -> None:
    there = {child.name for child in listed.out.iterdir()} if is_folder(listed.out) else set()
    if LIST in there and not overwrite:
        check_same(read_list(listed.out), listed)
    elif there - {LOCK} and LIST not in there:
        raise ConfigError(
            f"the folder {printable(listed.out)} is not empty, and there is no list of runs in it",
            hint="choose another --out: a list of runs needs a folder of its own",
        )


def _kept(out: Path) -> tuple[Path, ...]:
    """The folders of the list that lies there, as far as it can be read."""
    try:
        return read_list(out).folders
    except EverymaskError:
        return ()
