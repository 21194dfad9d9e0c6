"""What a prediction has done so far, so that one that was killed goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from everymask.core.files import clear_leftovers, whole_file
from everymask.core.json.sealed import sealed, unsealed
from everymask.core.json.values import value_of
from everymask.errors import ConfigError, printable

UNFINISHED = ".unfinished"
_LINES = "journal.jsonl"
_MOST_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class Done:
    """A picture that is written: its `file`, its `name`, where each table then ends, and what all pictures show."""

    file: str
    name: str
    ends: tuple[int, ...]
    found: Mapping[str, int]


class Journal:
    """A hidden folder in the output folder with the growing tables, and a line for each picture that is written.

    `about` says how pictures are predicted: a prediction goes on only with the same. `done` is what an earlier part has
    written, oldest first; without `resume` there is none, and what an earlier part has left is removed.
    `ConfigError` where there is nothing to go on with, or `about` is another.
    """

    def __init__(self, out: Path, about: Mapping[str, object], *, resume: bool) -> None:
        self.folder: Path = out / UNFINISHED
        self.done: list[Done] = []
        self._about = json.loads(json.dumps(about, default=str))
        if resume:
            self.done = self._read()

    def begin(self) -> None:
        """Make the folder, and remove what a killed part has left half-written."""
        for place in (self.folder.parent, *(path for path in self.folder.parent.rglob("*") if path.is_dir())):
            clear_leftovers(place)
        if not self.done:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [{"about": self._about}, *map(asdict, self.done)]
        with whole_file(self.folder / _LINES) as temporary:
            temporary.write_bytes(b"".join(map(_line, lines)))

    def add(self, done: Done) -> None:
        """Note a picture, whose rows are in the tables already."""
        with (self.folder / _LINES).open("ab") as stream:
            stream.write(_line(asdict(done)))

    @contextmanager
    def table(self, path: Path | None, name: str = "") -> Iterator[BinaryIO]:
        """A table that grows here and appears at `path` (None: nowhere) when it is closed.

        It appears as a copy where not all is done, and goes on growing when the prediction goes on.
        """
        part = self.folder / (name if path is None else path.name)
        with part.open("r+b" if part.exists() else "w+b") as stream:
            yield stream
        if path is not None:
            with whole_file(path) as temporary:
                shutil.copyfile(part, temporary)

    def end(self) -> None:
        """All is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> list[Done]:
        """What is done; a line that was not finished, and what its tables do not hold, are not."""
        out = printable(self.folder.parent)
        try:
            lines = (self.folder / _LINES).read_bytes().splitlines()
            before = _unlined(lines[0])["about"]
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ConfigError(f"there is no prediction to continue in {out}", hint="start without --resume") from error
        changed = [f"{k} was {before.get(k)!r}, now {v!r}" for k, v in self._about.items() if before.get(k) != v]
        if changed:
            raise ConfigError(
                f"the prediction in {out} began with other settings: {printable('; '.join(changed))}",
                hint="continue it with the same, or begin anew with --overwrite",
            )
        done: list[Done] = []
        for line in lines[1:]:
            try:
                found: Done = value_of(Done, _unlined(line), "line", most=2**62, most_values=_MOST_CLASSES)
            except (ValueError, TypeError):
                break
            done.append(found)
        return done


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(sealed(entry)).encode() + b"\n"


def _unlined(line: bytes) -> dict[str, Any]:
    return unsealed(json.loads(line))


def is_unfinished(out: Path) -> bool:
    """Whether a prediction into `out` can go on."""
    return os.path.lexists(out / UNFINISHED / _LINES)
