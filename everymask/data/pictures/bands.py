"""Pictures of any number of channels, which Pillow does not read: TIFF with many or deep bands, and NumPy arrays.

- TIFF: interleaved or a plane per band, in strips or tiles, 8 to 64 bits; stored plainly or packed by Deflate, LZW,
  PackBits, Zstandard or LZMA, with or without a predictor. Bands that are marked as alpha are dropped.
- `.npy`: one array [H, W] or [H, W, C] of numbers. Files that hold Python objects are never unpickled.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from everymask.core.arrays import Array
from everymask.data.pictures.tiff_rows import PACKINGS, PLAIN, TiffRows
from everymask.errors import DataError, printable

_ALPHA = (1, 2)  # ExtraSamples: premultiplied and plain alpha
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UNSIGNED, _FLOAT = 1, 3  # SampleFormat


class Rows(Protocol):
    """The rows of a picture from top to bottom."""

    def read(self, count: int) -> Array:
        """The next rows [count, W, C], fewer at the end."""


@dataclass(frozen=True, slots=True)
class Bands:
    """What a file says of its values before they are read.

    `size` is (H, W) and `dtype` the type as stored; `channels` are those of `rows()`, which begin at the top each time.
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    orientation: object
    pages: bool
    rows: Callable[[], Rows]


def open_npy(stream: IO[bytes], file: Path) -> Bands:
    """The array of a `.npy` stream, checked to be [H, W] or [H, W, C] of numbers and as long as its header says."""
    in_memory = isinstance(stream, io.BytesIO)
    # Both check the length against the header without reading; a file is mapped anew when it is read.
    stored = _array_in(stream) if isinstance(stream, io.BytesIO) else np.lib.format.open_memmap(file, mode="r")
    shape, dtype = stored.shape, stored.dtype
    if len(shape) not in (2, 3) or dtype.kind not in "buif":
        raise DataError(
            f"{printable(file)}: expected an array [H, W] or [H, W, C] of numbers, but found {dtype} {list(shape)}",
            hint="save one picture per file with numpy.save, channels last",
        )
    channels = shape[2] if len(shape) == 3 else 1
    rows = partial(ArrayRows, stored) if in_memory else partial(_NpyRows, file)
    return Bands((shape[0], shape[1]), channels, dtype, 1, False, rows)


def _array_in(stream: io.BytesIO) -> Array:
    """The array in the bytes of a `.npy` file; `ValueError` where they are too few, or Python objects."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    stored: Array = np.frombuffer(stream.getvalue(), dtype, math.prod(shape), stream.tell())
    return stored.reshape(shape, order="F" if fortran else "C").copy()


@dataclass(slots=True)
class ArrayRows:
    """The rows of an array [H, W] or [H, W, C]."""

    picture: Array
    top: int = 0

    def read(self, count: int) -> Array:
        """The next rows [count, W, C], fewer at the end."""
        rows = self.picture[self.top : self.top + count]
        self.top += len(rows)
        return rows[..., None] if rows.ndim == 2 else rows


@dataclass(slots=True)
class _NpyRows:
    file: Path
    top: int = 0

    def read(self, count: int) -> Array:
        # Mapped anew each time: pages that stay mapped count as the program's memory.
        rows = ArrayRows(np.lib.format.open_memmap(self.file, mode="r"), self.top).read(count)
        self.top += len(rows)
        return np.array(rows)


def open_tiff(stream: IO[bytes], file: Path) -> Bands | None:
    """The bands of a TIFF; None where Pillow reads it without loss, or refuses it.

    Pillow reads unsigned grey of up to 16 bits, RGB with 8 bits, palettes, CMYK, JPEG.
    """
    tags = _tags(stream, file)
    return None if _is_for_pillow(tags) else _bands(tags, stream, file)


def open_simple_tiff(stream: IO[bytes], file: Path) -> Bands | None:
    """The bands of a TIFF that `open_tiff` leaves to Pillow but whose stored values are those that Pillow gives.

    None for all others: fewer than 8 bits, white as 0, palettes, colours other than RGB, alpha that was multiplied.
    """
    tags = _tags(stream, file)
    kind, samples, extras = tags.get(262), int(tags.get(277, 1)), tuple(tags.get(338, ()))
    stored = set(zip(tags.get(258, (1,)), tags.get(339, (_UNSIGNED,)) * samples, strict=False))
    grey = kind == _BLACK_IS_ZERO and len(extras) == samples - 1
    types = {(8, _UNSIGNED), (16, _UNSIGNED)} if grey and samples == 1 else {(8, _UNSIGNED)}
    packing = tags.get(259, PLAIN)
    simple = (
        (grey or (kind == _RGB and len(extras) == samples - 3))
        and extras in ((), (_ALPHA[1],))
        and len(stored) == 1
        and stored <= types
        and packing in PACKINGS
        and (packing != PLAIN or tags.get(317, 1) == 1)
        and tags.get(266, 1) == 1
    )
    return _bands(tags, stream, file) if simple else None


def _tags(stream: IO[bytes], file: Path) -> ImageFileDirectory_v2:
    stream.seek(0)
    head = stream.read(8)
    if head.startswith(b"MM\0+"):
        raise DataError(f"{printable(file)}: a BigTIFF in big-endian order", hint="save it in little-endian order")
    tags = ImageFileDirectory_v2(head + stream.read(8) if head[2:3] == b"+" else head)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _kept(tags: ImageFileDirectory_v2) -> list[int]:
    """The bands that are not marked as alpha."""
    samples, extras = int(tags.get(277, 1)), tuple(tags.get(338, ()))
    colours = max(0, samples - len(extras))
    return [band for band in range(samples) if band < colours or extras[band - colours] not in _ALPHA]


def _is_for_pillow(tags: ImageFileDirectory_v2) -> bool:
    kind, bits, formats = tags.get(262), max(tags.get(258, (1,))), set(tags.get(339, (_UNSIGNED,)))
    if kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return True
    if int(tags.get(277, 1)) == 1:
        # Of big-endian files that are packed, Pillow swaps the bytes of all other grey.
        return (formats == {_UNSIGNED} and bits <= 16) or (kind != _BLACK_IS_ZERO and formats != {_FLOAT})
    return bits <= 8 and len(_kept(tags)) == (3 if kind == _RGB else 1)


def _bands(tags: ImageFileDirectory_v2, stream: IO[bytes], file: Path) -> Bands:
    bits, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    if len(bits) != 1 or len(kinds) != 1 or not bits <= {8, 16, 32, 64} or not kinds <= {1, 2, 3}:
        raise DataError(
            f"{printable(file)}: expected bands of one type with 8, 16, 32 or 64 bits, but found bits {sorted(bits)}, "
            f"kinds {sorted(kinds)}",
            hint="save the bands as uint8, uint16 or float32",
        )
    dtype = np.dtype(f"{'uif'[kinds.pop() - 1]}{bits.pop() // 8}")
    kept, size = _kept(tags), (int(tags[257]), int(tags[256]))
    return Bands(size, len(kept), dtype, tags.get(274, 1), tags.next != 0, partial(TiffRows, stream, file, dtype, kept))
