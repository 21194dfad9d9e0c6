"""The pictures of lists, folders and buckets, one path at a time and never all at once."""

from __future__ import annotations

import csv
import glob
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from everymask.core.files import is_there
from everymask.data.pictures.read import ARRAY_SUFFIX, SUFFIXES
from everymask.errors import ConfigError, DataError, MachineError, printable, require
from everymask.results.shards.store import is_remote, local_path, open_remote, reaching

LISTS = (".txt", ".csv", ".jsonl", ".ndjson", ".parquet")
"""The endings of files that name pictures."""
_COLUMNS = ("path", "file", "file_name", "filename", "image", "picture", "url", "uri")
_log = logging.getLogger(__name__)


def list_pictures(sources: Iterable[str], left_out: Counter[str]) -> Iterator[str]:
    """The paths of all pictures that `sources` name, some perhaps twice.

    A source is a picture, a folder with all that is below it, a pattern, a list of pictures (text with one path per
    line, CSV, JSON lines or Parquet with a column of paths, which start at the list's folder where they are relative),
    or any of these on another machine (s3://bucket/folder). Files and folders that begin with a dot are left out;
    `left_out` counts what is, by what it is. `DataError` for what does not exist, and for a list that is none.
    """
    for source in sources:
        if is_remote(source):
            yield from _listed_remotely(source, left_out)
        else:
            yield from _listed(str(local_path(source)), left_out)


def _listed(source: str, left_out: Counter[str]) -> Iterator[str]:
    path = Path(source)
    if path.is_dir():
        yield from _pictures_below(lambda: _files_below(path, left_out), source, left_out)
    elif path.suffix.lower() in LISTS and is_there(path):
        try:
            with path.open("rb") as stream:
                for name in _named(stream, source):
                    yield name if is_remote(name) else str(path.parent / name)
        except OSError as error:
            raise MachineError(f"cannot read {printable(path)}: {error.strerror or error}") from error
    elif not is_there(path) and glob.has_magic(source):
        matches = glob.iglob(source, recursive=True)  # noqa: PTH207 (Path.glob needs a folder)
        yield from _pictures_below(lambda: (match for match in matches if Path(match).is_file()), source, left_out)
    elif is_there(path):
        yield source
    else:
        raise DataError(
            f"{printable(source)} does not exist", hint="give a folder of pictures, a list of pictures, or a pattern"
        )


def _pictures_below(files: Callable[[], Iterable[str]], source: str, left_out: Counter[str]) -> Iterator[str]:
    """Those of the files that are pictures by their endings; `.npy` where there are no others."""
    others = arrays = found = 0
    for file in files():
        ending = PurePosixPath(file).suffix.lower()
        if ending in SUFFIXES:
            found += 1
            yield file
        else:
            arrays += ending == ARRAY_SUFFIX
            others += 1
    if arrays and not found:
        hidden = left_out["hidden"]
        yield from (file for file in files() if file.lower().endswith(ARRAY_SUFFIX))
        left_out["hidden"] = hidden
        found, others = arrays, others - arrays
    left_out["not pictures by their endings"] += others
    if not found:
        raise DataError(
            f"there is no picture in {printable(source)}", hint=f"pictures end in {', '.join(sorted(SUFFIXES))}"
        )


def _files_below(folder: Path, left_out: Counter[str]) -> Iterator[str]:
    """Files as the system gives them, so that a folder may hold any number."""
    folders = [str(folder)]
    while folders:
        place = folders.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        left_out["hidden"] += 1
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_symlink() or entry.is_file():
                        yield entry.path
        except OSError as error:
            _log.warning("%s cannot be read and is left out: %s", printable(place), error.strerror)


def _listed_remotely(source: str, left_out: Counter[str]) -> Iterator[str]:
    files, root = open_remote(source)
    with reaching(f"cannot list {source}"):
        if glob.has_magic(source):
            shown = (path for path in files.glob(root) if not PurePosixPath(path).name.startswith("."))
            yield from _pictures_below(lambda: map(files.unstrip_protocol, shown), source, left_out)
        elif files.isdir(root):
            yield from _pictures_below(lambda: _remote_files(files, root, left_out), source, left_out)
        elif PurePosixPath(source).suffix.lower() in LISTS:
            with files.open(root, "rb") as stream:
                base = source.rpartition("/")[0]
                for name in _named(stream, source):
                    yield name if is_remote(name) else f"{base}/{name}"
        elif files.exists(root):
            yield source
        else:
            raise DataError(f"{printable(source)} does not exist")


def _remote_files(files: Any, root: str, left_out: Counter[str]) -> Iterator[str]:
    for place, _, names in files.walk(root):
        inside = place[len(root) :].strip("/").split("/")
        hidden = any(part.startswith(".") for part in inside)
        for name in names:
            if hidden or name.startswith("."):
                left_out["hidden"] += 1
            else:
                yield files.unstrip_protocol(f"{place}/{name}")


def _named(stream: IO[bytes], source: str) -> Iterator[str]:
    """The paths in a list of pictures."""
    ending = PurePosixPath(source).suffix.lower()
    if ending == ".parquet":
        yield from _from_parquet(stream, source)
        return
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        if ending == ".txt":
            names: Iterator[str] = (line.rstrip("\r\n") for line in text)
        elif ending == ".csv":
            names = _from_csv(text, source)
        else:
            names = _from_json_lines(text, source)
        yield from (name for name in names if name.strip())


def _from_csv(text: Iterable[str], source: str) -> Iterator[str]:
    """The column of paths; the first, where the first line is no header because it names a picture itself."""
    rows = csv.reader(text)
    try:
        header = next(rows, [])
        if header and PurePosixPath(header[0]).suffix:
            yield header[0]
            header = []
        column = _column(header, source) if header else 0
        for row in rows:
            if row:
                yield row[column]
    except (csv.Error, IndexError) as error:
        raise DataError(f"{printable(source)}: line {rows.line_num}: {printable(error)}") from error


def _from_json_lines(lines: Iterable[str], source: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise DataError(f"{printable(source)}: line {number}: {error}") from error
        name = list(found.values())[_column(list(found), source)] if isinstance(found, dict) else found
        if not isinstance(name, str):
            raise DataError(
                f"{printable(source)}: line {number}: expected the path of a picture, but got {printable(name, 80)}",
                hint='each line is a text, or an object such as {"path": "a.png"}',
            )
        yield name


def _from_parquet(stream: IO[bytes], source: str) -> Iterator[str]:
    require("pyarrow", "ray")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
        column = file.schema_arrow.names[_column(file.schema_arrow.names, source)]
        for batch in file.iter_batches(columns=[column]):
            yield from (str(name) for name in batch.column(0).to_pylist() if name is not None)
    except pa.ArrowException as error:
        raise DataError(f"{printable(source)}: {printable(error)}") from error


def _column(names: list[str], source: str) -> int:
    """The place of the column that has the paths."""
    plain = [name.strip().lower() for name in names]
    found = next((plain.index(name) for name in _COLUMNS if name in plain), None)
    if found is None and len(names) == 1:
        return 0
    if found is None:
        raise ConfigError(
            f"{printable(source)}: expected a column of paths, called {', '.join(_COLUMNS[:-1])} or {_COLUMNS[-1]}, "
            f"but its columns are {printable(', '.join(names) or 'none')}",
            hint="name the column path",
        )
    return found
