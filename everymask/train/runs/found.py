"""All runs below a folder; torch-free."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from everymask.core.files import is_folder, is_there
from everymask.errors import ConfigError, EverymaskError, printable
from everymask.train.runs.listed import LIST, read_list
from everymask.train.runs.row import NoRun, RunRow, looks_like_run, read_row


@dataclass(frozen=True, slots=True)
class NotShown:
    """A folder of which there is no row, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs below `root`, in the order of their folders, and what else lies there."""

    root: Path
    rows: tuple[RunRow, ...]
    others: tuple[NotShown, ...]

    def name(self, folder: Path) -> str:
        """The folder as it is called from `root`."""
        return folder.name if folder == self.root else folder.relative_to(self.root).as_posix()


def read_runs(root: str | Path) -> Runs:
    """The runs in `root` and in the folders below it, however deep, without importing torch and without a trace left.

    Damaged runs, and folders directly in `root` in which there is no run, are told with the reason. `ConfigError` where
    there is no such folder.

    >>> [row.state for row in read_runs("runs").rows]
    """
    folder = Path(root)
    if not is_folder(folder):
        raise ConfigError(f"there is no folder {printable(root)}", hint="name one that holds folders of runs")
    search = _Search()
    search.finds(folder, top=True)
    rows = sorted(search.rows, key=lambda row: in_order(str(row.folder)))
    return Runs(folder, tuple(rows), tuple(sorted(search.others, key=lambda other: in_order(str(other.folder)))))


def in_order(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name count as numbers, so that seed-10 comes behind seed-9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


@dataclass(slots=True)
class _Search:
    rows: list[RunRow] = field(default_factory=list)
    others: list[NotShown] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    def finds(self, folder: Path, *, top: bool = False) -> bool:
        """Whether there is a run in `folder` or below it, or what was one; all of them are added.

        Of the folder at the `top`, those directly in it where there is none are added too.
        """
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in self.seen:  # a link to what was found elsewhere
                return True
            self.seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                kinds = {entry.name: entry.is_dir() for entry in entries}
        except OSError as error:
            self.others.append(NotShown(folder, f"it cannot be read: {error.strerror or error}"))
            return True
        if LIST not in kinds and looks_like_run(set(kinds), folder):
            try:
                self.rows.append(read_row(folder))
            except NoRun as reason:
                self.others.append(NotShown(folder, str(reason)))
            return True
        children = sorted(name for name, is_dir in kinds.items() if is_dir and not name.startswith("."))
        found = [self.finds(folder / name) for name in children]
        if top:
            without = [folder / name for name, there in zip(children, found, strict=True) if not there]
            self.others += [NotShown(child, "there is no run in it") for child in without]
        return self._lists(folder) if LIST in kinds else any(found)

    def _lists(self, folder: Path) -> bool:
        """Add those of a list of runs that have not begun."""
        try:
            listed = read_list(folder)
        except EverymaskError as error:
            self.others.append(NotShown(folder, error.message))
            return True
        self.others += [NotShown(run, "not begun yet") for run in listed.folders if not is_there(run)]
        return True
