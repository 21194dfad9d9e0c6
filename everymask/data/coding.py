"""What is stored in label files, and which class it stands for: the one mapping that all who read a label map share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.data.pictures.read import read_header, read_image, read_label_map
from everymask.errors import DataError, printable

MOST_CLASSES = 65_535
_COLOURS = 1 << 24
LOSSY = ("JPEG", "WEBP", "JPEG2000", "MPO")
_SHOWN = 24
_TWO_LEVELS = 0.9

Stored: TypeAlias = Literal["numbers", "colours", "brightness"]


@dataclass(frozen=True, slots=True)
class LabelCoding:
    """Which class id each stored value stands for; None where it says that there is no truth.

    `kind` says what the values of `table` are: whole numbers (palette indices too), RGB colours as 0xRRGGBB, or grey
    values of masks whose two levels were blurred, by a lossy format or smoothed edges (see `two_levels`).
    `source` says in a few words where the mapping comes from.
    """

    kind: Stored
    table: tuple[tuple[int, int | None], ...]
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        rows = ((int(value), None if name is None else int(name)) for value, name in self.table)
        object.__setattr__(self, "table", tuple(sorted(rows, key=lambda row: row[0])))
        values = [value for value, _ in self.table]
        if self.kind not in get_args(Stored) or not values or len(set(values)) != len(values):
            raise DataError(f"a coding gives every stored value one class, but got {self.kind}: {self.table}")
        names = [name for _, name in self.table if name is not None]
        if names and not 0 <= min(names) <= max(names) < MOST_CLASSES:
            raise DataError(
                f"label maps hold up to {MOST_CLASSES} classes, but class ids go from {min(names)} to {max(names)}"
            )

    def apply(self, raw: Array, labels: Labels, file: object = "") -> IntArray:
        """The class ids [H, W] of what a label file stores, and `labels.ignore` where there is no truth.

        Stored are numbers [H, W], or colours [H, W, 3] uint8. The ids are uint8, or uint16 where `labels.ignore` needs
        it. `DataError` where something is stored that stands for no class: file, value, number of pixels, and the place
        of the first, with x and y counted from 0.
        """
        values = colour_codes(raw) if self.kind == "colours" else raw
        ids, strange = _ids(values, self, labels.ignore)
        unknown = ids == strange
        if unknown.any():
            y, x = np.argwhere(unknown)[0].tolist()
            value = int(values[y, x])
            raise DataError(
                f"{printable(file)}: {int((values == value).sum()):,} pixels hold {self.shown(value)}, which stands "
                f"for no class; the first is at x {x}, y {y}",
                hint=f"expected {self._expected()}",
            )
        return ids.astype(np.min_scalar_type(labels.ignore), copy=False)

    def knows(self, value: int) -> bool:
        """Whether a stored value stands for a class, or says that there is no truth."""
        return any(value == known for known, _ in self.table)

    def shown(self, value: int) -> str:
        """A stored value as people write it."""
        return f"#{value:06x}" if self.kind == "colours" else str(value)

    @property
    def stored(self) -> list[Any]:
        """How classes are stored, as JSON: the kind of values, and rows of value and class."""
        return [self.kind, [list(row) for row in self.table]]

    def sentence(self, labels: Labels) -> str:
        """What the label maps hold, for logs and tables."""
        if self.kind == "brightness":
            return f"label maps hold brightness ({self.source}): {' and '.join(map(printable, labels.names))}"
        rows = [(value, name) for value, name in self.table if name is not None]
        values = [f"{self.shown(value)} {printable(labels.names[name], 40)}" for value, name in rows[:_SHOWN]]
        values += ["..."] if len(rows) > _SHOWN else []
        ignored = [self.shown(value) for value, name in self.table if name is None]
        less = f"; {', '.join(ignored[:5])}{', ...' if len(ignored) > 5 else ''} without truth" if ignored else ""
        return f"label maps hold {self.kind} ({self.source}): {', '.join(values)}{less}"

    def _expected(self) -> str:
        values = [self.shown(value) for value, _ in self.table]
        listed = f"{', '.join(values[:_SHOWN])}{', ...' if len(values) > _SHOWN else ''}"
        return f"{listed} ({self.source})" if self.source else listed


def numbers(count: int, source: str, *, void: Iterable[int], first: int = 0) -> LabelCoding:
    """Classes 0 to `count` - 1 stored as the numbers from `first` on, and the numbers `void` that have no truth."""
    rows: dict[int, int | None] = dict.fromkeys(void)
    return LabelCoding("numbers", tuple((rows | {first + name: name for name in range(count)}).items()), source)


def read_ids(file: Path, coding: LabelCoding, labels: Labels) -> IntArray:
    """The class ids [H, W] of a label file; `DataError` as `read_label_map` and `LabelCoding.apply`."""
    return coding.apply(_STORED[coding.kind](file), labels, file)


def stored_values(file: Path, coding: LabelCoding) -> IntArray:
    """What a label file stores [H, W], before it becomes classes; colours as 0xRRGGBB. `DataError` as `read_ids`."""
    raw = _STORED[coding.kind](file)
    return colour_codes(raw) if coding.kind == "colours" else raw


def count_values(stored: Array) -> dict[int, int]:
    """How often each value is there, of an array of whole numbers that are not negative."""
    if stored.dtype.itemsize <= 2:
        counts = np.bincount(stored.ravel())
        present = np.flatnonzero(counts)
        return dict(zip(present.tolist(), counts[present].tolist(), strict=True))
    present, counts = np.unique(stored, return_counts=True)
    return dict(zip(present.tolist(), counts.tolist(), strict=True))


def two_levels(pixels: Mapping[int, int], threshold: int | None = None) -> LabelCoding | None:
    """How masks with these `pixels` of each grey value (0-255) are read as background (0) and foreground (1).

    The limit is `threshold`, or lies midway between the commonest dark and the commonest bright value. None where they
    do not have two levels: fewer than 9 in 10 pixels are within an eighth of the distance from one of them.
    """
    dark, bright = ({v: n for v, n in pixels.items() if (v >= 128) is side} for side in (False, True))
    if not dark or not bright:
        return None
    low, high = max(dark, key=lambda value: dark[value]), max(bright, key=lambda value: bright[value])
    near = sum(count for value, count in pixels.items() if min(abs(value - low), abs(value - high)) <= (high - low) / 8)
    if near < _TWO_LEVELS * sum(pixels.values()):
        return None
    limit = (low + high + 1) // 2 if threshold is None else threshold
    source = f"foreground from {limit} on; the levels are {low} and {high}"
    return LabelCoding("brightness", tuple((value, int(value >= limit)) for value in range(256)), source)


def read_brightness(file: Path) -> ByteArray:
    """The brightness [H, W] uint8 of a mask, whatever its format; `DataError` for more than 8 bits."""
    pixels = read_image(file)
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{printable(file)}: expected a mask of 8 bits, but found {pixels.dtype}", hint="save masks as grey PNG"
        )
    return pixels[..., 0] if pixels.shape[2] < 3 else np.asarray(cv2.cvtColor(pixels[..., :3], cv2.COLOR_RGB2GRAY))


def read_colours(file: Path) -> ByteArray:
    """The colours [H, W, 3] of a label file; `DataError` for a lossy format and for more than 8 bits."""
    header = read_header(file)
    if header.format in LOSSY:
        raise DataError(
            f"{printable(file)}: expected a label map in a lossless format (PNG, TIFF, BMP or GIF), but found "
            f"{header.format}",
            hint="lossy formats change the colours: export the masks again as PNG",
        )
    pixels = read_image(file)
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3, 4):
        raise DataError(
            f"{printable(file)}: expected colours of 3 x 8 bits, but found {pixels.shape[2]} x {pixels.dtype}",
            hint="save label maps as grey or palette PNG",
        )
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def colour_codes(colours: Array) -> IntArray:
    """Colours [..., 3] uint8 as 0xRRGGBB, int32."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue


def counts_by_class(values: Mapping[int, int], coding: LabelCoding, num_classes: int) -> tuple[int, ...]:
    """Pixels of each class, from the pixels of each stored value; values that stand for nothing do not count."""
    counts = [0] * num_classes
    classes = dict(coding.table)
    for value, pixels in values.items():
        if (name := classes.get(value)) is not None:
            counts[name] += pixels
    return tuple(counts)


def _ids(values: Array, coding: LabelCoding, ignore: int) -> tuple[IntArray, int]:
    """The class id of each stored value, and the number that marks those that stand for nothing."""
    last = max((name for _, name in coding.table if name is not None), default=-1)
    strange = last + 1 if last + 1 != ignore else ignore + 1
    if values.dtype == np.uint8:
        return np.asarray(cv2.LUT(np.ascontiguousarray(values), _lookup(coding.table, 256, ignore, strange))), strange
    if values.dtype == np.uint16:
        return _lookup(coding.table, 65_536, ignore, strange)[values], strange
    if coding.kind == "colours":
        return _lookup(coding.table, _COLOURS, ignore, strange)[values], strange
    known = np.array([value for value, _ in coding.table], np.int64)
    names = np.array([ignore if name is None else name for _, name in coding.table], np.int64)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, names[places], strange), strange


@lru_cache(maxsize=8)
def _lookup(table: tuple[tuple[int, int | None], ...], size: int, ignore: int, strange: int) -> IntArray:
    """The class id of each value below `size`."""
    found = np.full(size, strange, np.min_scalar_type(max(ignore, strange)))
    for value, name in table:
        if 0 <= value < size:
            found[value] = ignore if name is None else name
    return found


_STORED: dict[Stored, Callable[[Path], IntArray]] = {
    "numbers": read_label_map,
    "colours": read_colours,
    "brightness": read_brightness,
}
