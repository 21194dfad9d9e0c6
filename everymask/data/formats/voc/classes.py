"""Pascal VOC's classes, colours and label maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.files import whole_file
from everymask.core.label_sets import VOC_NAMES
from everymask.data.formats.folders import (
    names_text,
    note_equal_channels,
    object_ids,
    read_lines,
    read_map,
    report_size,
)
from everymask.data.formats.labelmaps.tables import ClassTable, Row, colour_code, plain_names, read_table
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_image
from everymask.errors import DataError, printable

VOID = 255
_BORDER = 0xE0E0C0
_BACKGROUND = ("background", "_background_", "__background__")
_LISTS = ("class_names.txt", "labelmap.txt")
_LITERAL = re.compile(r"# names as they are; background is number (\d+)")


@dataclass(frozen=True, slots=True)
class Classes:
    """Class names without background and void, and what the maps hold for them.

    `numbers` says what a number in a class map stands for: 0 background, class id + 1, 255 void; `colours` says it of
    the colours (0xRRGGBB) in RGB class maps. As a class of label maps background is called `background`, and stands
    before the name number `place`. `file` is the list's name.
    """

    names: tuple[str, ...]
    numbers: dict[int, int] = field(default_factory=dict)
    colours: dict[int, int] | None = None
    background: str = _BACKGROUND[0]
    place: int = 0
    file: str = ""

    @classmethod
    def of_voc(cls) -> Classes:
        """The twenty classes of the Pascal VOC challenges."""
        return cls(VOC_NAMES, {number: number for number in range(21)})

    def colour_table(self) -> dict[int, int]:
        """What colours stand for: those of the list, else VOC's; its border is void unless the list says otherwise."""
        usual = {code: self.numbers[number] for code, number in _voc_codes().items() if number in self.numbers}
        return {_BORDER: VOID} | (usual if self.colours is None else self.colours)

    def all_names(self) -> tuple[str, ...]:
        """The names with that of background among them, as label maps have them."""
        return (*self.names[: self.place], self.background, *self.names[self.place :])

    def class_id(self, stands_for: int) -> int | None:
        """The place in `all_names` of what a number or colour stands for; None for void."""
        if stands_for == VOID:
            return None
        return self.place if stands_for == 0 else stands_for - (stands_for <= self.place)


def read_classes(root: Path, issues: IssueLog) -> Classes | None:
    """The classes that `class_names.txt` or `labelmap.txt` lists, or None where there is neither.

    The lists are tables of classes as every format has them. Background is the class of that name, wherever it stands
    and whatever its colour; where there is none, 0 and black. `DataError` for a list that cannot be used.
    """
    file = next((root / name for name in _LISTS if (root / name).is_file()), None)
    if file is None:
        return None
    number = _literal_background(file)
    if number is not None:
        rows = [Row(name, row) for row, (_, name) in enumerate(read_lines(file, issues) or ())]
        background = next((row for row in rows if row.number == number), None)
    else:
        table = _table(file, issues)
        rows, numbered = list(table.rows), table.numbered
        background = next((row for row in rows if row.background), None)
        if background is None and not numbered:
            rows = [replace(row, number=row.number + 1) for row in rows]
    if len(rows) > VOID:
        message = f"{printable(file)}: expected at most {VOID} rows, but found {len(rows)}"
        raise DataError(message, hint="write the data set as COCO or image-masks")
    return _classes(rows, background, file.name, literal=number is not None)


def names_list(names: Sequence[str], place: int = 0) -> str:
    """The text of a `class_names.txt`; the name number `place` is background's.

    A first line says that names mean nothing else, where that is needed for them to be read again.
    """
    text = names_text(names)
    plain = names[place] in _BACKGROUND and plain_names([name for row, name in enumerate(names) if row != place])
    return text if plain else f"# names as they are; background is number {place}\n{text}"


def _literal_background(file: Path) -> int | None:
    """Which row is background, by a first line that says so, and that names mean nothing but themselves."""
    with file.open("rb") as stream:
        found = _LITERAL.fullmatch(stream.readline(200).decode("utf-8", "replace").strip())
    return None if found is None else int(found.group(1))


def _table(file: Path, issues: IssueLog) -> ClassTable:
    before = len(issues.issues)
    table = read_table(file, issues)
    if table is not None and file.name == "labelmap.txt":
        for row in table.rows:
            if row.colour is None and ":" in row.name:
                message = "expected name:red,green,blue:parts:actions"
                issues.error("labelmap-row", message, file=file, value=row.name)
    listed = [issue for issue in issues.issues[before:] if issue.severity == "error"]
    if table is None or listed:
        raise DataError(f"{printable(file)}: the list of classes cannot be used", issues=listed)
    return table


def _classes(rows: Sequence[Row], background: Row | None, file: str, *, literal: bool) -> Classes:
    others = [row for row in rows if row is not background and (literal or not (row.void or row.background))]
    names = tuple(row.name for row in others)
    ids = {row.number: number for number, row in enumerate(others, 1)}
    empty = {row.number for row in rows if row is background or (row.background and not literal)}
    stands_for = {row.number: 0 if row.number in empty else ids.get(row.number, VOID) for row in rows}
    colours = {colour_code(row.colour): stands_for[row.number] for row in rows if row.colour is not None}
    if background is None:
        stands_for.setdefault(0, 0)
        colours |= {} if 0 in colours or not colours else {0: 0}
    called = [] if background is None or background.name in _BACKGROUND else [background.name]
    free = next(name for name in (*called, *_BACKGROUND, "background of all") if name not in names)
    place = 0 if background is None else sum(row.number < background.number for row in others)
    numbers = {number: value for number, value in stands_for.items() if number >= 0}
    return Classes(names, numbers, colours or None, free, place, file)


def read_class_map(file: Path, size: tuple[int, int], classes: Classes, issues: IssueLog) -> IntArray | None:
    """A class map [H, W]: 0 background, class id + 1, 255 void; None when `issues` was told why it cannot be used."""
    if _stores_colours(file):
        found = _from_colours(file, size, classes.colour_table(), issues)
        if found is None or not found.grey:
            return None if found is None else found.ids
        ids: IntArray | None = found.ids
    else:
        ids = read_map(file, size, issues)
    if ids is None:
        return None
    known = np.zeros(max(256, int(ids.max()) + 1), np.uint8)
    for value in sorted({0, *object_ids(ids)} if not ids.all() else object_ids(ids)):
        if value in classes.numbers or value == VOID:
            known[value] = classes.numbers.get(value, VOID)
        else:
            where = np.argwhere(ids == value)
            counts = ", ".join(f"{number}: {int((ids == number).sum())}" for number in object_ids(ids)[:20])
            message = f"expected 0 to {max(classes.numbers)}, or 255 for void; the pixels by number are {counts}"
            hint = "list the classes in class_names.txt, background first, one per line; numbers must not be shifted"
            place = "row {}, column {}".format(*where[0].tolist())
            issues.error("unknown-class", message, file=file, where=place, value=value, hint=hint)
            return None
    return known[ids]


def read_object_map(file: Path, size: tuple[int, int], issues: IssueLog) -> tuple[IntArray, bool] | None:
    """An object map [H, W], and whether the file stores colours instead of numbers; None when it cannot be used."""
    painted = _stores_colours(file)
    if painted:
        found = _from_colours(file, size, _voc_codes(), issues)
        return None if found is None else (found.ids, painted)
    ids = read_map(file, size, issues)
    return None if ids is None else (ids, painted)


def voc_colours() -> ByteArray:
    """VOC's palette [256, 3]: the bits of the number, dealt to red, green and blue in turn, highest bit first."""
    number = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((number >> (3 * place + channel) & 1) << (7 - place)).astype(np.uint8)
    return colours


def write_palette(file: Path, ids: IntArray) -> None:
    """Write numbers [H, W] up to 255 as a PNG whose palette is VOC's."""
    image = Image.fromarray(np.ascontiguousarray(ids, np.uint8), "L")
    image.putpalette(voc_colours().ravel().tolist())
    with whole_file(file) as temporary:
        image.save(temporary, format="PNG")


def _voc_codes() -> dict[int, int]:
    return {int(code): value for value, code in enumerate(_codes(voc_colours()))}


def _codes(colours: Array) -> IntArray:
    red, green, blue = (colours[..., channel].astype(np.int64) for channel in range(3))
    return red << 16 | green << 8 | blue


def _stores_colours(file: Path) -> bool:
    """Whether a PNG's header says RGB or RGBA, rather than a palette or grey."""
    with file.open("rb") as stream:
        head = stream.read(26)
    return head.startswith(b"\x89PNG") and len(head) == 26 and head[25] in (2, 6)


@dataclass(frozen=True, slots=True)
class _Painted:
    """What colours stand for [H, W]; `grey` says that three equal channels held numbers instead."""

    ids: IntArray
    grey: bool = False


def _from_colours(file: Path, size: tuple[int, int], table: dict[int, int], issues: IssueLog) -> _Painted | None:
    try:
        colours = read_image(file)
    except DataError as error:
        message = error.message.removeprefix(f"{printable(file)}: ")
        issues.error("mask", message, file=file, hint=error.hint)
        return None
    height, width = colours.shape[:2]
    if (height, width) != size:
        report_size(file, (height, width), size, issues)
        return None
    codes = _codes(colours)
    present, inverse = np.unique(codes, return_inverse=True)
    unknown = [int(code) for code in present if int(code) not in table]
    if unknown and not (present % 0x010101).any():
        note_equal_channels(file, issues)
        return _Painted(np.ascontiguousarray(colours[..., 0]), grey=True)
    if unknown:
        where = np.argwhere(codes == unknown[0])
        message = f"{len(unknown)} colours stand for nothing; the first fills {len(where)} pixels"
        place = "row {}, column {}".format(*where[0].tolist())
        colour = (unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255)
        hint = "list the colours in labelmap.txt (name:red,green,blue::), or save the maps as palette PNG"
        issues.error("unknown-colour", message, file=file, where=place, value=colour, hint=hint)
        return None
    return _Painted(np.array([table[int(code)] for code in present], np.uint8)[inverse].reshape(size))
