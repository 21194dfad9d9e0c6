"""What is stored in label files, and which class it stands for: the one mapping that all who read a label map share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import cv2
import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.data.pictures.read import read_header, read_image, read_label_map
from everymask.errors import DataError, printable

IGNORE = 255
"""The class id of a pixel whose truth is not known: neither loss nor metric counts it."""
MOST_CLASSES = 254
NO_OBJECT = -1
"""What stands in a coding of objects for a pixel that no object covers."""
NO_TRUTH = -2
"""What stands there for a region that was marked as one to ignore."""
_UNKNOWN = 254
_COLOURS = 1 << 24
_LOSSY = ("JPEG", "WEBP", "JPEG2000")
_SHOWN = 24

Kind: TypeAlias = Literal["numbers", "colours", "objects"]


@dataclass(frozen=True, slots=True)
class LabelCoding:
    """Which class id, or `IGNORE`, each stored value stands for.

    `kind` says what the values of `table` are: whole numbers (palette indices too), RGB colours as 0xRRGGBB, or the
    class ids of objects from which label maps are painted. `source` says in a few words where the mapping comes from.
    """

    kind: Kind
    table: tuple[tuple[int, int], ...]
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", tuple(sorted((int(value), int(name)) for value, name in self.table)))
        values = [value for value, _ in self.table]
        if self.kind not in get_args(Kind) or not values or len(set(values)) != len(values):
            raise DataError(f"a coding gives every stored value one class, but got {self.kind}: {self.table}")
        if not all(0 <= name < MOST_CLASSES or name == IGNORE for _, name in self.table):
            raise DataError(f"label maps hold up to {MOST_CLASSES} classes, but class ids go to {max(values)}")

    def apply(self, raw: Array, file: object = "") -> ByteArray:
        """The class ids [H, W] uint8 of what a label file stores: numbers [H, W], or colours [H, W, 3] uint8.

        `DataError` where something is stored that stands for no class: file, value, number of pixels, and the place of
        the first, with x and y counted from 0.
        """
        values = colour_codes(raw) if self.kind == "colours" else raw
        ids = self._ids(values)
        unknown = ids == _UNKNOWN
        if unknown.any():
            y, x = np.argwhere(unknown)[0].tolist()
            value = int(values[y, x])
            raise DataError(
                f"{printable(file)}: {int((values == value).sum()):,} pixels hold {self.shown(value)}, which stands "
                f"for no class; the first is at x {x}, y {y}",
                hint=f"expected {self._expected()}",
            )
        return ids

    def class_of(self, value: int) -> int | None:
        """The class id that a stored value stands for, or None."""
        return dict(self.table).get(value)

    def stored(self) -> dict[int, int]:
        """For each class id, and for `IGNORE`, the smallest value that stands for it."""
        return {name: value for value, name in reversed(self.table)}

    def shown(self, value: int) -> str:
        """A stored value as people write it."""
        return f"#{value:06x}" if self.kind == "colours" else str(value)

    def sentence(self, labels: Labels) -> str:
        """What the label maps hold, for logs and tables."""
        rows = [(value, name) for value, name in self.table if value != NO_OBJECT and name != IGNORE]
        values = [f"{self.shown(value)} {printable(labels.names[name], 40)}" for value, name in rows[:_SHOWN]]
        values += ["..."] if len(rows) > _SHOWN else []
        ignored = [self.shown(value) for value, name in self.table if name == IGNORE]
        less = f"; {', '.join(ignored[:5])}{', ...' if len(ignored) > 5 else ''} without truth" if ignored else ""
        if self.kind == "objects":
            background = self.class_of(NO_OBJECT)
            rest = f"; the rest is {printable(labels.names[background], 40)}" if background is not None else ""
            return f"label maps are painted from objects, {self.source}{rest}"
        return f"label maps hold {self.kind} ({self.source}): {', '.join(values)}{less}"

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, as `from_json` takes them."""
        return {"kind": self.kind, "table": [list(row) for row in self.table], "source": self.source}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LabelCoding:
        """The coding that `to_json` wrote."""
        rows = tuple((int(value), int(name)) for value, name in data["table"])
        return cls(data["kind"], rows, str(data.get("source", "")))

    def _ids(self, values: Array) -> ByteArray:
        if values.dtype == np.uint8:
            return np.asarray(cv2.LUT(np.ascontiguousarray(values), _lookup(self.table, 256)), np.uint8)
        if values.dtype == np.uint16:
            return np.asarray(_lookup(self.table, 65_536)[values])
        if self.kind == "colours":
            return np.asarray(_lookup(self.table, _COLOURS)[values])
        known, names = np.array(self.table, np.int64).T
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
        return np.where(known[places] == values, names[places], _UNKNOWN).astype(np.uint8)

    def _expected(self) -> str:
        values = [self.shown(value) for value, _ in self.table]
        listed = f"{', '.join(values[:_SHOWN])}{', ...' if len(values) > _SHOWN else ''}"
        return f"{listed} ({self.source})" if self.source else listed


def numbers(count: int, source: str, *, first: int = 0, ignore: Iterable[int] = (IGNORE,)) -> LabelCoding:
    """Classes 0 to `count` - 1 stored as the numbers from `first` on, and the numbers that have no truth."""
    rows = dict.fromkeys(ignore, IGNORE) | {first + name: name for name in range(count)}
    return LabelCoding("numbers", tuple(rows.items()), source)


def paint_coding(labels: Labels) -> tuple[Labels, LabelCoding]:
    """The classes of label maps painted from objects of classes `labels`, and how they are painted.

    The first class is the background, unless one of the objects' classes is called so already.
    """
    source = "smaller ones over larger ones, crowds without truth"
    for name, known in enumerate(labels.names):
        if known.lower() in ("background", "_background_"):
            same = {value: value for value in range(len(labels))}
            return labels, LabelCoding("objects", tuple({NO_TRUTH: IGNORE, NO_OBJECT: name, **same}.items()), source)
    shifted = {NO_OBJECT: 0} | {value: value + 1 for value in range(len(labels))}
    painted = Labels(("background", *labels.names), ((0, 0, 0), *labels.colours))
    return painted, LabelCoding("objects", tuple({NO_TRUTH: IGNORE, **shifted}.items()), source)


def paint(objects: InstanceSet, coding: LabelCoding, size: tuple[int, int]) -> ByteArray:
    """The class ids [H, W] uint8 of a picture of `size` (H, W) with these objects.

    A smaller object hides a larger one, and of two of one size the first is hidden. Where a crowd is and no object,
    there is no truth.
    """
    classes = dict(coding.table)
    ids = np.full(size, classes[NO_OBJECT], np.uint8)
    masks = objects.masks
    if masks is None:
        raise DataError("objects without masks cannot be painted", hint="label maps need outlines or masks")
    crowd = np.zeros(len(objects), np.bool_) if objects.crowd is None else objects.crowd
    for row in np.lexsort((-masks.areas(), ~crowd)).tolist():
        x1, y1, x2, y2 = masks.windows[row].tolist()
        name = IGNORE if crowd[row] else classes[int(objects.class_ids[row])]
        ids[y1:y2, x1:x2][masks.crop(row)] = name
    return ids


def read_ids(file: Path, coding: LabelCoding) -> ByteArray:
    """The class ids [H, W] of a label file; `DataError` as `read_label_map` and `LabelCoding.apply`."""
    return coding.apply(read_colours(file) if coding.kind == "colours" else read_label_map(file), file)


def read_colours(file: Path) -> ByteArray:
    """The colours [H, W, 3] of a label file; `DataError` for a lossy format and for more than 8 bits."""
    header = read_header(file)
    if header.format in _LOSSY:
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
        if (name := classes.get(value, IGNORE)) != IGNORE:
            counts[name] += pixels
    return tuple(counts)


@lru_cache(maxsize=8)
def _lookup(table: tuple[tuple[int, int], ...], size: int) -> ByteArray:
    found = np.full(size, _UNKNOWN, np.uint8)
    for value, name in table:
        if 0 <= value < size:
            found[value] = name
    return found
