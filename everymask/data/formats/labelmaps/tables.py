"""Files that say which classes the numbers or colours in label maps stand for.

`classes.csv`, `_classes.csv` (Roboflow), `class_dict.csv`, `labels.csv`: a heading, then a row for each class. A column
called name, class or label gives the name; one called number, value, pixel value, id or index the number; red, green
and blue (r, g, b) the colour. Without numbers the rows count from 0.

`labelmap.txt`, `labels.txt`, `classes.txt`, `class_names.txt`, `label_names.txt`, `label_colors.txt`, `classes.names`:
a line for each class, all of one kind:

    sky                     the lines count from 0, or from -1 where the first is __ignore__
    3 sky                   or 3: sky, 3, sky
    sky:128,128,128::       what follows another colon means nothing
    sky:::                  the same without a colour
    128 128 128 sky         or with commas

Pixels of a class called void, ignore, ignored, unlabelled or unlabeled have no truth. `_background_` is read as
background.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.labels import Colour, Labels, distinct_colours, usual_ignore
from everymask.data.coding import MOST_CLASSES, LabelCoding
from everymask.data.formats.folders import names_text, read_lines
from everymask.data.issues import IssueLog
from everymask.errors import DataError

TABLE_FILES = (
    "classes.csv", "_classes.csv", "class_dict.csv", "labels.csv", "labelmap.txt", "label_colors.txt", "labels.txt",
    "classes.txt", "class_names.txt", "label_names.txt", "classes.names",
)  # fmt: skip
_VOID_NUMBERS = (255, 65_535)
VOID_NAMES = frozenset({"__ignore__", "ignore", "ignored", "void", "unlabelled", "unlabeled"})
BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__"})
_COLUMNS = {
    "name": ("name", "class", "class name", "classname", "label", "category"),
    "number": ("number", "value", "pixel value", "id", "index", "class id"),
    "red": ("red", "r"),
    "green": ("green", "g"),
    "blue": ("blue", "b"),
}
_RGB = r"(?P<red>\d{1,3})[\s,;]+(?P<green>\d{1,3})[\s,;]+(?P<blue>\d{1,3})"
_LINES = {
    "colour first": re.compile(rf"{_RGB}[\s,;:]+(?P<name>\D.*)"),
    "colour last": re.compile(rf"(?P<name>[^:]*?\S)[\s:,]+{_RGB}(?::.*)?"),
    "number": re.compile(r"(?P<number>\d+)[\s:=,;]+(?P<name>\S.*)"),
    "name": re.compile(r"(?P<name>[^:]*[^:\s])\s*::[^:]*:[^:]*"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One class of a table: its name, and the number and the colour that stand for it."""

    name: str
    number: int
    colour: Colour | None = None

    @property
    def void(self) -> bool:
        """Whether its pixels have no truth."""
        return self.name.lower() in VOID_NAMES

    @property
    def background(self) -> bool:
        """Whether its pixels show none of the other classes."""
        return self.name.lower() in BACKGROUND_NAMES


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The rows of `file`; `numbered` says that the file gives the numbers, rather than the order of its rows."""

    file: Path
    rows: tuple[Row, ...]
    numbered: bool

    @property
    def coloured(self) -> bool:
        """Whether every row has a colour."""
        return all(row.colour is not None for row in self.rows)

    def classes(self) -> list[Row]:
        """The rows that are classes."""
        return [row for row in self.rows if not row.void]

    def labels(self) -> Labels:
        """The classes in the order of the rows."""
        rows = self.classes()
        spare = distinct_colours(len(rows))
        colours = tuple(row.colour or colour for row, colour in zip(rows, spare, strict=True))
        return Labels(tuple(row.name for row in rows), colours)

    def numbers(self) -> LabelCoding:
        """Label maps hold the rows' numbers, and 255 or 65535 where there is no truth and no row has that number."""
        ids = self._ids()
        rows = dict.fromkeys(_VOID_NUMBERS) | {row.number: ids[row.name] for row in self.rows}
        return LabelCoding("numbers", tuple(rows.items()), self.file.name)

    def colours(self) -> LabelCoding:
        """Label maps hold the rows' colours."""
        ids = self._ids()
        rows = {colour_code(row.colour): ids[row.name] for row in self.rows if row.colour is not None}
        return LabelCoding("colours", tuple(rows.items()), self.file.name)

    def _ids(self) -> dict[str, int | None]:
        voids: dict[str, int | None] = {row.name: None for row in self.rows if row.void}
        return voids | {row.name: name for name, row in enumerate(self.classes())}


def find_table(folders: list[Path]) -> Path | None:
    """The first table of classes in the folders, in their order."""
    return next((folder / name for folder in folders for name in TABLE_FILES if (folder / name).is_file()), None)


def read_table(file: Path, issues: IssueLog) -> ClassTable | None:
    """The classes that a file lists, or None where `issues` was told why it cannot be used."""
    before = issues.total("error")
    rows, numbered = _csv_rows(file, issues) if file.suffix.lower() == ".csv" else _text_rows(file, issues)
    if not rows and issues.total("error") == before:
        issues.error("class-table", "expected a list of classes, but the file has none", file=file)
    columns: dict[str, Counter[object]] = {
        "name": Counter(row.name for row in rows),
        "number": Counter(row.number for row in rows),
        "colour": Counter(row.colour for row in rows if row.colour is not None),
    }
    for what, counts in columns.items():
        for value in [value for value, count in counts.items() if count > 1]:
            same = " and ".join(row.name for row in rows if value in (row.name, row.number, row.colour))
            hint = "each class stands for itself: give each row its own"
            shown = value if what == "name" else f"{value} for {same}"
            issues.error("repeated-class", f"a {what} stands there twice", file=file, value=shown, hint=hint)
    classes = [row for row in rows if not row.void]
    if len(classes) > MOST_CLASSES:
        issues.error("too-many-classes", f"expected up to {MOST_CLASSES} classes", file=file, value=len(classes))
    if issues.total("error") > before or not classes:
        return None
    return ClassTable(file, tuple(rows), numbered)


def stored_ids(ids: IntArray, labels: Labels) -> IntArray:
    """A label map [H, W] with the numbers that `table_text` lists, uint8 or uint16; no truth is 255 or 65535 there."""
    void = usual_ignore(len(labels))
    return np.where(ids == labels.ignore, void, ids).astype(np.min_scalar_type(void))


def table_text(labels: Labels) -> str:
    """A `classes.csv` for label maps that hold class ids; `DataError` for a name that would not come back the same."""
    names_text(labels.names)
    lines = ["number,name,red,green,blue"]
    for number, (name, colour) in enumerate(zip(labels.names, labels.colours, strict=True)):
        if Row(name, number).void or name == "_background_":
            raise DataError(f"the class name {name!r} means something else in a table of classes", hint="rename it")
        quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
        lines.append(",".join((str(number), quoted, *map(str, colour))))
    return "\n".join(lines) + "\n"


def plain_names(names: Sequence[str]) -> bool:
    """Whether names, one a line, are read as these names: none of them means something else in a table."""
    lines = list(enumerate(names, 1))
    named = not any(Row(name, 0).void or Row(name, 0).background or _name(name) != name for name in names)
    return named and not any(_share(form, lines) > 0.5 for form in _LINES.values())


def _csv_rows(file: Path, issues: IssueLog) -> tuple[list[Row], bool]:
    lines = read_lines(file, issues)
    if not lines:
        return [], False
    reader = csv.reader([f"{text}\n" for _, text in lines], skipinitialspace=True, strict=True)
    try:
        heading = next(reader)
        rest = [(*lines[reader.line_num - 1], cells) for cells in reader]
    except csv.Error as error:
        where, text = lines[reader.line_num - 1]
        hint = "a name with a comma or a quote stands in double quotes"
        issues.error("csv-syntax", f"not CSV: {error}", file=file, where=f"line {where}", value=text, hint=hint)
        return [], False
    places = {kind: _column(heading, names) for kind, names in _COLUMNS.items()}
    if places["name"] is None:
        message = "expected a heading with a column called name, class or label"
        hint = "such as: number,name,red,green,blue"
        issues.error("class-table", message, file=file, where="line 1", value=",".join(heading), hint=hint)
        return [], False
    coloured = None not in (places["red"], places["green"], places["blue"])
    rows = []
    for count, (line, text, cells) in enumerate(rest):
        found = {kind: cells[place] for kind, place in places.items() if place is not None and place < len(cells)}
        name = found.get("name", "").strip()
        number = str(count) if places["number"] is None else found.get("number", "")
        colour = [found.get(kind, "") for kind in ("red", "green", "blue")] if coloured else []
        row = _row(name, number, colour)
        if row is None:
            message = f"expected {len(heading)} values as in the heading: a name, whole numbers, colours of 0-255"
            issues.error("class-table", message, file=file, where=f"line {line}", value=text)
        else:
            rows.append(row)
    return rows, places["number"] is not None


def _column(heading: list[str], names: tuple[str, ...]) -> int | None:
    cells = [cell.strip().lower().replace("_", " ") for cell in heading]
    return next((cells.index(name) for name in names if name in cells), None)


def _text_rows(file: Path, issues: IssueLog) -> tuple[list[Row], bool]:
    lines = read_lines(file, issues) or []
    kind = next((kind for kind, form in _LINES.items() if _share(form, lines) > 0.5), None)
    first = -1 if lines and lines[0][1] == "__ignore__" else 0
    rows = []
    for count, (line, text) in enumerate(lines, first):
        if kind is None:
            rows.append(Row(_name(text), count))
            continue
        match = _LINES[kind].fullmatch(text)
        found = match.groupdict() if match else {}
        colour = [found[part] for part in ("red", "green", "blue") if part in found]
        row = _row(found.get("name", "").strip(), found.get("number", str(count)), colour)
        if row is None:
            message = f"expected a line like the others, with a {kind.split()[0]} and a name"
            issues.error("class-table", message, file=file, where=f"line {line}", value=text)
        else:
            rows.append(row)
    return rows, kind == "number"


def _share(form: re.Pattern[str], lines: list[tuple[int, str]]) -> float:
    return sum(form.fullmatch(text) is not None for _, text in lines) / max(1, len(lines))


def _row(name: str, number: str, colour: list[str]) -> Row | None:
    try:
        parts = tuple(int(part) for part in colour)
        value = int(number)
    except ValueError:
        return None
    if len(name.splitlines()) != 1 or not -1 <= value < 2**31 or not all(0 <= part <= 255 for part in parts):
        return None
    return Row(_name(name), value, (parts[0], parts[1], parts[2]) if parts else None)


def _name(text: str) -> str:
    return "background" if text == "_background_" else text


def colour_code(colour: Colour) -> int:
    """0xRRGGBB."""
    red, green, blue = colour
    return red << 16 | green << 8 | blue
