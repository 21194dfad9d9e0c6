"""Pascal VOC's classes, colours and label maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.files import whole_file
from everymask.core.label_sets import VOC_NAMES
from everymask.data.formats.folders import (
    note_equal_channels,
    object_ids,
    read_lines,
    read_map,
    read_names,
    report_size,
)
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_image
from everymask.errors import DataError, printable

VOID = 255
_BACKGROUND = ("_background_", "background", "__background__")
VOC_VOID_NAMES = ("__ignore__", "ignored", "ignore", "void")


@dataclass(frozen=True, slots=True)
class Classes:
    """Class names without background and void, and what the maps hold for them.

    `values[v]` is the class id of the number `v` in a class map, where 0 is background; numbers that name void or
    background give -1. `colours` gives the number of a colour (0xRRGGBB) in RGB class maps. `file` is the list's name.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] = ()
    colours: dict[int, int] | None = None
    file: str = ""

    @classmethod
    def of_voc(cls) -> Classes:
        """The twenty classes of the Pascal VOC challenges."""
        return cls(VOC_NAMES, (-1, *range(20)))


def read_classes(root: Path, issues: IssueLog) -> Classes | None:
    """The classes that `class_names.txt` or `labelmap.txt` lists, or None where there is neither."""
    colours: dict[int, int] = {}
    if (root / "class_names.txt").is_file():
        file = root / "class_names.txt"
        listed = list(read_names(file, issues))
        if listed[:1] == ["__ignore__"]:  # labelme's own list begins with it, as number -1
            del listed[0]
    elif (root / "labelmap.txt").is_file():
        file = root / "labelmap.txt"
        listed = []
        for number, line in read_lines(file, issues):
            name, _, rest = line.partition(":")
            try:
                red, green, blue = (int(part) for part in rest.split(":")[0].split(","))
                colours[red << 16 | green << 8 | blue] = len(listed)
            except ValueError:
                message = "expected name:red,green,blue:parts:actions"
                issues.error("labelmap-row", message, file=file, where=f"line {number}", value=line)
            listed.append(name.strip())
    else:
        return None
    if not listed or listed[0] not in _BACKGROUND:
        listed.insert(0, _BACKGROUND[0])
        colours = {colour: value + 1 for colour, value in colours.items()}
    if len(listed) > VOID:
        issues.error("too-many-classes", f"expected at most {VOID} rows", file=file, value=len(listed))
        del listed[VOID:]
    names = tuple(name for name in listed if name not in _BACKGROUND + VOC_VOID_NAMES)
    values = tuple(names.index(name) if name in names else -1 for name in listed)
    return Classes(names, values, colours or None, file.name)


def read_class_map(file: Path, size: tuple[int, int], classes: Classes, issues: IssueLog) -> IntArray | None:
    """A class map [H, W]: 0 background, class id + 1, 255 void; None when `issues` was told why it cannot be used."""
    table = classes.colours or {code: value for code, value in _voc_codes().items() if value < len(classes.values)}
    if _stores_colours(file):
        ids = _from_colours(file, size, {**table, 0xE0E0C0: VOID}, issues)
    else:
        ids = read_map(file, size, issues)
    if ids is None:
        return None
    known = np.zeros(max(256, int(ids.max()) + 1), np.uint8)
    for value in object_ids(ids):
        if value == VOID:
            known[value] = VOID
        elif value < len(classes.values):
            known[value] = VOID if classes.values[value] < 0 else classes.values[value] + 1
        else:
            where = np.argwhere(ids == value)
            counts = ", ".join(f"{number}: {int((ids == number).sum())}" for number in object_ids(ids)[:20])
            message = f"expected 0 to {len(classes.values) - 1}, or 255 for void; the pixels by number are {counts}"
            hint = "list the classes in class_names.txt, background first, one per line; numbers must not be shifted"
            place = "row {}, column {}".format(*where[0].tolist())
            issues.error("unknown-class", message, file=file, where=place, value=value, hint=hint)
            return None
    return known[ids]


def read_object_map(file: Path, size: tuple[int, int], issues: IssueLog) -> tuple[IntArray, bool] | None:
    """An object map [H, W], and whether the file stores colours instead of numbers; None when it cannot be used."""
    painted = _stores_colours(file)
    ids = _from_colours(file, size, _voc_codes(), issues) if painted else read_map(file, size, issues)
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


def _from_colours(file: Path, size: tuple[int, int], table: dict[int, int], issues: IssueLog) -> IntArray | None:
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
        return np.ascontiguousarray(colours[..., 0])
    if unknown:
        where = np.argwhere(codes == unknown[0])
        message = f"{len(unknown)} colours stand for nothing; the first fills {len(where)} pixels"
        place = "row {}, column {}".format(*where[0].tolist())
        colour = (unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255)
        hint = "list the colours in labelmap.txt (name:red,green,blue::), or save the maps as palette PNG"
        issues.error("unknown-colour", message, file=file, where=place, value=colour, hint=hint)
        return None
    return np.array([table[int(code)] for code in present], np.uint8)[inverse].reshape(size)
