"""Prompts in CSV files: what is pointed at in which picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

from everymask.data.issues import IssueLog
from everymask.data.strict.csv_files import Row, read_strict_csv
from everymask.errors import DataError, counted, listed, printable

Kind: TypeAlias = Literal["points", "boxes"]
_COLUMNS: dict[Kind, tuple[str, ...]] = {"points": ("x", "y"), "boxes": ("x1", "y1", "x2", "y2")}


@dataclass(frozen=True, slots=True)
class Asked:
    """What one object is asked by, in pixels: `box` xyxy, or `points` xy and what they are, `labels` 1 or 0; `name` is
    what the file calls it.
    """

    name: str = ""
    box: tuple[float, ...] | None = None
    points: tuple[tuple[float, ...], ...] = ()
    labels: tuple[int, ...] = ()


def read_prompts(file: Path, kind: Kind, place: str = "file") -> dict[str, list[Asked]]:
    """The objects that a CSV file asks for, by the picture that its column `place` names.

    Boxes are in the columns x1, y1, x2 and y2, as `predict` writes them. Points are in x and y; `label` is 1 on the
    object and 0 beside it (without the column all are on it), and points of one number in `object` belong together
    (without the column each is for an object of its own). Other columns are not read. `DataError` lists all defects.
    """
    issues = IssueLog()
    rows = read_strict_csv(file, issues)
    missing = [name for name in (place, *_COLUMNS[kind]) if rows and name not in rows[0][1]]
    if missing:
        raise DataError(
            f"{printable(file)} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            hint=f"{kind} are read from the columns {place}, {', '.join(_COLUMNS[kind])}",
        )
    if rows is not None and not rows:
        raise DataError(f"{printable(file)} asks for nothing: it has no rows")
    found: dict[tuple[str, str], Asked] = {}
    for row in rows or ():
        _add(found, row, kind, place, file, issues)
    issues.finish(printable(file))
    by_picture: dict[str, list[Asked]] = {}
    for (picture, _), asked in found.items():
        by_picture.setdefault(picture, []).append(asked)
    return by_picture


def _add(found: dict[tuple[str, str], Asked], row: Row, kind: Kind, place: str, file: Path, issues: IssueLog) -> None:
    line, values = row
    numbers = tuple(_number(values[name]) for name in _COLUMNS[kind])
    label = values.get("label", "1").strip()
    for name, number in zip(_COLUMNS[kind], numbers, strict=True):
        if not math.isfinite(number):
            issues.error("number", f"expected a number as {name}", file=file, where=f"line {line}", value=values[name])
            return
    if kind == "boxes":
        found[values[place], f"line {line}"] = Asked(values.get("object", ""), box=numbers)
    elif label not in ("0", "1"):
        issues.error("label", "expected 1 (on the object) or 0", file=file, where=f"line {line}", value=label)
    else:
        key = values[place], values.get("object", f"line {line}")
        before = found.get(key, Asked())
        points, labels = (*before.points, numbers), (*before.labels, int(label))
        found[key] = Asked(values.get("object", ""), points=points, labels=labels)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def by_path(asked: dict[str, list[Asked]], pictures: Sequence[Path], file: Path) -> dict[Path, list[Asked]]:
    """The same by the pictures' paths, of which a file names the last parts; `DataError` where it names none of them,
    or several.
    """
    found: dict[Path, list[Asked]] = {}
    for name, objects in asked.items():
        parts = PurePath(name).parts
        matching = [picture for picture in pictures if picture.parts[-len(parts) :] == parts or str(picture) == name]
        if len(matching) != 1:
            several = f"{counted(len(matching), 'picture')}: {listed(matching, 3)}"
            raise DataError(
                f"{printable(file)} asks for {printable(name)}, which is {several if matching else 'no picture here'}",
                hint="name pictures by their paths below the folder that is predicted",
            )
        found.setdefault(matching[0], []).extend(objects)
    return found
