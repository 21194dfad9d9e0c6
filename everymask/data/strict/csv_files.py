"""CSV files with a header, without what `csv` lets pass."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from everymask.data.issues import IssueLog
from everymask.data.strict.content import read_content

_MAX_BYTES = 2 << 30
_SHOWN = 10
Row = tuple[int, dict[str, str]]
"""The number of a row's last line, counted from 1, and its values by column."""


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a CSV file, the first of which are the names of the columns."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def read_strict_csv(file: Path, issues: IssueLog) -> list[Row] | None:
    """The rows of a CSV file by the names in its first line, or None when `issues` was told why it cannot be used.

    Refused are text that is not UTF-8, NUL characters, columns of one name, and files above 2 GiB; a row with more or
    fewer values than the header has is an error and left out, an empty line is passed over. Refuses and raises besides
    what `read_content` does.
    """
    data = read_content(file, issues, most=_MAX_BYTES, code="csv-too-large")
    if data is None:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where, hint = f"byte {error.start}", "save the file as UTF-8"
        issues.error("text-encoding", "expected UTF-8", file=file, where=where, hint=hint)
        return None
    usual = csv.field_size_limit(sys.maxsize >> 32)  # outlines and run-lengths are longer than the usual 131,072
    try:
        return _rows(text, file, issues)
    except csv.Error as error:
        issues.error("csv-syntax", f"not CSV: {error}", file=file, hint="the file seems damaged: export it again")
        return None
    finally:
        csv.field_size_limit(usual)


def read_column_names(file: Path) -> list[str]:
    """The names in the first line, empty where there are none or the file cannot be read."""
    try:
        with file.open("rb") as stream:
            line = stream.readline(1 << 16).decode("utf-8-sig")
        return [name.strip() for name in next(csv.reader([line]), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def read_first_rows(file: Path) -> list[dict[str, str]]:
    """The rows in the first 64 KiB by their columns, to recognise a table by; empty where they cannot be read."""
    try:
        with file.open("rb") as stream:
            lines = stream.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines()
        names, *rows = csv.reader(lines) if lines else [[]]
    except (OSError, csv.Error):
        return []
    return [dict(zip((name.strip() for name in names), row, strict=True)) for row in rows if len(row) == len(names)]


def _rows(text: str, file: Path, issues: IssueLog) -> list[Row] | None:
    if "\0" in text:
        issues.error("text-encoding", "expected UTF-8 without NUL characters", file=file, hint="save the file as UTF-8")
        return None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in next(reader, [])]
    if len(set(names)) != len(names) or not names:
        issues.error("csv-header", "expected a first line with names of columns that differ", file=file, value=names)
        return None
    rows: list[Row] = []
    for values in reader:
        if not values:
            continue
        if len(values) != len(names):
            where, message = f"line {reader.line_num}", f"expected {len(names)} values"
            issues.error("csv-row", message, file=file, where=where, value=values[:_SHOWN])
            continue
        rows.append((reader.line_num, dict(zip(names, values, strict=True))))
    return rows
