"""Where predictions are written: the folder, a name for each picture, and tables that grow line by line."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO, Generic, Literal, Self, TypeVar

from everymask.core.arrays import Array
from everymask.core.files import is_folder, real_path, whole_file
from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import Segmentation
from everymask.errors import ConfigError, DataError, MachineError, printable
from everymask.results.journal import Done, Journal, is_unfinished

Kind_contra = TypeVar("Kind_contra", bound=Segmentation, contravariant=True)
_MAX_NAME_BYTES = 150


class OutputFolder(ABC, Generic[Kind_contra]):
    """A folder into which results are written one at a time; its tables appear whole when it is closed.

    With `about`, which says how pictures are predicted, one that was killed can go on: `resume` keeps the pictures that
    are `done` (see `everymask.results.journal`).

    `count` pictures have been written, which show as many objects or pixels of each class as `found` says; `cut` of
    them may show more. Without any there are no tables either, nor a folder that was made for them. What kind of
    results they are, derived classes know: they open tables and add pictures.
    """

    columns: tuple[str, ...]
    """Of `predictions.csv`."""

    def __init__(
        self,
        out: str | Path,
        labels: Labels,
        *,
        overwrite: bool = False,
        inputs: Sequence[str | Path] = (),
        overlay: Literal["png", "jpg", "none"] = "png",
        about: Mapping[str, object] | None = None,
        resume: bool = False,
    ) -> None:
        self.out: Path = Path(out)
        self.labels = labels
        self.overlay = overlay
        self.count: int = 0
        self.cut = 0
        self.found: Counter[str] = Counter()
        self._names = OutputNames(inputs)
        check_place(self.out, [Path(path) for path in inputs], overwrite=overwrite or resume)
        self._journal = None if about is None else Journal(self.out, about, resume=resume)

    @property
    def done(self) -> frozenset[str]:
        """The files that an earlier part of this prediction has written already."""
        return frozenset(entry.file for entry in self._journal.done) if self._journal else frozenset()

    def __enter__(self) -> Self:
        self._made = [place for place in (self.out, *self.out.parents) if not place.exists()]
        self._there = {place for place in self.out.rglob("*") if place.is_dir()}
        with ExitStack() as stack:
            if self._journal:
                self._journal.begin()
            self._csv = stack.enter_context(self._table("predictions.csv"))
            self._csv.write(csv_line(self.columns))
            self._tables = (self._csv, *self._opened(stack))
            self._ends = [table.tell() for table in self._tables]
            self._take_up()
            self._stack = stack.pop_all()
        return self

    def _take_up(self) -> None:
        """Go on behind the pictures that are done already and stand in the tables."""
        if self._journal is None:
            return
        sizes = [table.seek(0, os.SEEK_END) for table in self._tables]
        kept = []
        for entry in self._journal.done:
            if len(entry.ends) != len(sizes) or any(end > size for end, size in zip(entry.ends, sizes, strict=True)):
                break
            kept.append(entry)
            self._names.take(entry.name)
            self.found, self._ends = Counter(entry.found), list(entry.ends)
        self._journal.done, self.count = kept, len(kept)
        self._rewind()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.count:
            self._withdraw()
            return
        # The tables are closed as after a success whatever has happened, so that those of what is done appear.
        with self._stack:
            self._rewind()
            self._finish()
        if self._journal and error is None:
            self._journal.end()

    def _table(self, name: str) -> AbstractContextManager[BinaryIO]:
        """A table that appears in the folder when it is closed."""
        return self._journal.table(self.out / name) if self._journal else whole_stream(self.out / name)

    def _withdraw(self) -> None:
        """Close the tables as after a failure, so that none appears, and remove the empty folders that were made."""
        nothing = DataError("no picture was written")
        self._stack.__exit__(DataError, nothing, None)
        if self._journal:
            self._journal.end()
        below = [place for place in self.out.rglob("*") if place.is_dir() and place not in self._there]
        for folder in (*sorted(below, reverse=True), *self._made):
            with suppress(OSError):
                folder.rmdir()

    @abstractmethod
    def add(self, sample: Sample, found: Kind_contra, *, cut: bool = False) -> str:
        """Write what was found in one picture; returns its name. `cut` says that more objects may be there."""

    def add_strips(self, file: str | Path, size: tuple[int, int], strips: Iterable[tuple[Array, Kind_contra]]) -> str:
        """Write what was found in the picture in `file`, of `size` (H, W), as its strips come; returns its name.

        `ConfigError` where what is found cannot be cut into strips.
        """
        raise ConfigError("things are not written by strips, which would cut them", hint="use add_large")

    def add_large(self, file: str | Path, image: Array, found: Kind_contra, size: Size, *, cut: bool = False) -> str:
        """Write what was found in the picture in `file`, of `size` (H, W); returns its name.

        `image` is every n-th row and column of it, as `Thinned` gives them: what is drawn. `ConfigError` where what is
        found comes by strips.
        """
        raise ConfigError("label maps are written by strips", hint="use add_strips")

    @abstractmethod
    def answer(self) -> dict[str, Any]:
        """What was found in all pictures, as plain JSON values."""

    @abstractmethod
    def sentence(self) -> str:
        """What was found in all pictures, in words."""

    def _opened(self, stack: ExitStack) -> Sequence[BinaryIO]:
        """The tables besides the CSV, begun, to be closed by `stack`."""
        return ()

    def _finish(self) -> None:
        """Write what ends the tables."""

    @contextmanager
    def _adding(self, file: str, name: str) -> Iterator[None]:
        """Within, the picture in `file` is written under `name`; unless that ends well the tables stay without it."""
        self._rewind()
        try:
            yield
        except OSError as error:
            raise MachineError(f"cannot write into {printable(self.out)}: {error.strerror or error}") from error
        self.count += 1
        self._ends = [table.tell() for table in self._tables]
        if self._journal:
            for table in self._tables:
                table.flush()
            self._journal.add(Done(file, name, tuple(self._ends), dict(self.found)))

    def _rewind(self) -> None:
        """Cut off what a picture that did not end well has left in the tables."""
        for table, end in zip(self._tables, self._ends, strict=True):
            table.seek(end)
            table.truncate()


class OutputNames:
    """A name for each picture: its path below the input folder without its ending.

    Of several folders in `inputs` it is the path below the innermost folder that has them all, and beside pictures that
    are named one by one the path as it was asked for: so two files never share a path in the tables.

    Odd characters become `_`, and two pictures never share a name, nor names that differ only in case or Unicode form:
    the second gets its ending or a number added.
    """

    def __init__(self, inputs: Sequence[str | Path]) -> None:
        self._roots = [Path(path) for path in inputs if is_folder(path)]
        self._base = _common(self._roots) if len(self._roots) == len(inputs) else None
        self._names: dict[str, int] = {}

    def shown(self, file: str, id: str = "") -> str:  # noqa: A002
        """The path of the picture in `file` as the tables give it; where it comes from no file this is its `id`."""
        place = Path(os.path.abspath(file))  # noqa: PTH100 (`resolve` would follow links)
        if file and self._base and place.is_relative_to(self._base):
            return place.relative_to(self._base).as_posix()
        return Path(file).as_posix() if file else id

    def free(self, file: str, shown: str) -> str:
        """A name that no picture has had before; `shown` is the path as the tables give it."""
        path = PurePosixPath(shown)
        ending = safe_part(path.suffix[1:]) if file and path.suffix else ""
        kept = path.parent.parts if self._roots and not path.is_absolute() else ()
        name = "/".join(safe_part(part) for part in (*kept, path.stem if ending else path.name or "picture"))
        if ending and _key(name) in self._names:
            name += f"_{ending}"
        plain, number = name, self._names.get(_key(name), 0)
        while _key(name) in self._names:
            number += 1
            name = f"{plain}_{number}"
        self._names[_key(plain)] = max(number, 1)
        self.take(name)
        return name

    def take(self, name: str) -> None:
        """A name that a picture has."""
        self._names.setdefault(_key(name), 1)


def _common(folders: Sequence[Path]) -> Path | None:
    """The innermost folder that all of them are or lie in; None where there is none."""
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))  # noqa: PTH100
    except ValueError:
        return None


def check_place(out: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """`ConfigError` where results must not be written to `out`.

    That is where it is not empty (unless `overwrite`) or lies inside an input folder, or an input inside it.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{printable(out)} is a file, but the results need a folder", hint="choose another --out")
    place = real_path(out)
    for path in inputs:
        source = real_path(path)
        if is_folder(source) and place.is_relative_to(source):
            raise ConfigError(
                f"the output folder {printable(out)} lies inside the input folder {printable(path)}",
                hint="choose a folder beside it: pictures that were written would be read as input next time",
            )
        if source.is_relative_to(place):
            raise ConfigError(
                f"the input {printable(path)} lies inside the output folder {printable(out)}",
                hint="choose another --out: input files are never written over",
            )
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise ConfigError(
            f"the output folder {printable(out)} is not empty",
            hint="a prediction into it was stopped: continue it with --resume, or begin anew with --overwrite"
            if is_unfinished(out)
            else "choose another --out, or write into it with --overwrite",
        )


def _key(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


@contextmanager
def whole_stream(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears when it is closed."""
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        yield stream


def csv_line(cells: Sequence[object]) -> bytes:
    """A line of a CSV file (RFC 4180) in which no cell can act as a formula."""
    return csv_lines([cells])


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Such lines, one for each of `rows`."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return buffer.getvalue().encode("utf-8")


def _cell(text: str) -> str:
    """One line of text that no spreadsheet takes for a formula."""
    shown = printable(text, limit=32_000)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def safe_part(part: str) -> str:
    """A part of a path as a name that every file system takes and no command line takes for an option."""
    plain = "".join(c if c.isprintable() else "_" for c in part)
    plain = re.sub(r'[<>:"|?*\\/]', "_", plain).rstrip(". ")
    if plain.startswith(("-", ".")) or not plain:
        plain = "_" + plain[1:]
    return plain.encode("utf-8")[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
