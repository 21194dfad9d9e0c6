"""Label maps written from top to bottom by strips of rows, which needs the memory of one strip."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from everymask.core.arrays import ByteArray, IntArray
from everymask.core.files import whole_file
from everymask.core.labels import Labels
from everymask.data.pictures.png_rows import PALETTE, SIGNATURE, chunk
from everymask.errors import ConfigError, DataError, printable

_CHUNK_BYTES = 1 << 20
_VOID = (224, 224, 192)
_STRIP_BYTES = 1 << 18
_UP_FILTER = 2
_DEFLATE, _BLACK_IS_ZERO = 8, 1
_HEADER_BYTES = 16
_CLASSIC_BYTES = 1 << 32
_FIELD_TYPES = {"H": 3, "I": 4, "Q": 16}


@contextmanager
def writing_label_map(path: str | Path, size: tuple[int, int], labels: Labels) -> Iterator[Callable[[IntArray], None]]:
    """Yield `write(rows)`, which takes the next rows [n, W] of a label map of `size` (H, W) from top to bottom.

    A `.png` is an 8-bit palette PNG whose indices are the class ids and whose palette has their colours.
    A `.tif` or `.tiff` is a grey TIFF in Deflate strips with 8 bits, or 16 or 32 where `labels.ignore` needs
    them, and a BigTIFF from 4 GiB. The file appears when the context ends without an error, whole or not at all.

    Raises `ConfigError` for another ending; `DataError` for rows of another width, more or fewer than H rows, and ids
    that the file cannot hold; `MachineError` when the disk refuses.
    """
    file, (height, width) = Path(path), size
    kind = _WRITERS.get(file.suffix.lower())
    if kind is None:
        raise ConfigError(f"{printable(file)}: expected a name ending in .png, .tif or .tiff")
    with whole_file(file) as temporary, temporary.open("wb") as stream:
        writer = kind(stream, size, labels)
        written = 0

        def write(rows: IntArray) -> None:
            nonlocal written
            if rows.ndim != 2 or rows.shape[1] != width or written + len(rows) > height:
                raise DataError(
                    f"{printable(file)}: expected up to {height - written} rows of {width} ids, but got "
                    f"{list(rows.shape)}"
                )
            limit = np.iinfo(writer.dtype).max
            if rows.size and (rows.min() < 0 or rows.max() > limit):
                raise DataError(
                    f"{printable(file)}: expected ids from 0 to {limit}, but these reach from {rows.min()} to "
                    f"{rows.max()}",
                    hint="" if kind is _GreyWriter else "a name ending in .tif makes a TIFF, which holds larger ids",
                )
            if rows.size:
                writer.write(rows.astype(writer.dtype))
            written += len(rows)

        yield write
        if written != height:
            raise DataError(f"{printable(file)}: expected {height} rows, but got {written}")
        writer.finish()


class _Writer(Protocol):
    dtype: np.dtype[Any]

    def __init__(self, stream: IO[bytes], size: tuple[int, int], labels: Labels) -> None: ...

    def write(self, rows: IntArray) -> None: ...

    def finish(self) -> None: ...


class _PaletteWriter:
    """A palette PNG: rows less the row above, whose long runs of zeros zlib's run-length mode packs fast and small."""

    def __init__(self, stream: IO[bytes], size: tuple[int, int], labels: Labels) -> None:
        self.dtype = np.dtype(np.uint8)
        self._stream, self._packed = stream, bytearray()
        self._packer = zlib.compressobj(strategy=zlib.Z_RLE)
        self._last: IntArray = np.zeros((1, size[1]), np.uint8)
        stream.write(SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *size[::-1], 8, PALETTE, 0, 0, 0)))
        stream.write(chunk(b"PLTE", _palette(labels).tobytes()))

    def write(self, rows: IntArray) -> None:
        steps = np.diff(rows, axis=0, prepend=self._last)
        self._last = rows[-1:]
        filtered = np.pad(steps, ((0, 0), (1, 0)), constant_values=_UP_FILTER)
        self._packed += self._packer.compress(filtered.tobytes())
        if len(self._packed) >= _CHUNK_BYTES:
            self._write_chunk()

    def finish(self) -> None:
        self._packed += self._packer.flush()
        self._write_chunk()
        self._stream.write(chunk(b"IEND", b""))

    def _write_chunk(self) -> None:
        self._stream.write(chunk(b"IDAT", bytes(self._packed)))
        self._packed.clear()


class _GreyWriter:
    """A grey TIFF in little-endian order whose directory stands behind the strips."""

    def __init__(self, stream: IO[bytes], size: tuple[int, int], labels: Labels) -> None:
        self.dtype = np.min_scalar_type(labels.ignore).newbyteorder("<")
        self._stream, self._size = stream, size
        self._tall = max(1, _STRIP_BYTES // (size[1] * self.dtype.itemsize))
        self._waiting = np.empty((0, size[1]), self.dtype)
        self._starts: list[int] = []
        self._lengths: list[int] = []
        stream.write(bytes(_HEADER_BYTES))

    def write(self, rows: IntArray) -> None:
        waiting = np.concatenate([self._waiting, rows])
        whole = len(waiting) // self._tall * self._tall
        for top in range(0, whole, self._tall):
            self._write_strip(waiting[top : top + self._tall])
        self._waiting = waiting[whole:].copy()

    def finish(self) -> None:
        if len(self._waiting):
            self._write_strip(self._waiting)
        # The two lists and the directory are still to come.
        big = self._stream.tell() + 8 * len(self._starts) + 1000 > _CLASSIC_BYTES
        word = "Q" if big else "I"
        fields = {
            256: ("I", [self._size[1]]), 257: ("I", [self._size[0]]), 258: ("H", [8 * self.dtype.itemsize]),
            259: ("H", [_DEFLATE]), 262: ("H", [_BLACK_IS_ZERO]), 273: (word, self._starts), 277: ("H", [1]),
            278: ("I", [self._tall]), 279: (word, self._lengths),
        }  # fmt: skip
        directory = struct.pack("<Q" if big else "<H", len(fields))
        for tag, (kind, values) in fields.items():
            data = struct.pack(f"<{len(values)}{kind}", *values)
            directory += struct.pack(f"<HH{word}", tag, _FIELD_TYPES[kind], len(values))
            if len(data) > struct.calcsize(word):
                place = self._stream.tell()
                self._stream.write(data)
                data = struct.pack(f"<{word}", place)
            directory += data.ljust(struct.calcsize(word), b"\0")
        place = self._stream.tell()
        self._stream.write(directory + bytes(struct.calcsize(word)))
        self._stream.seek(0)
        self._stream.write(
            struct.pack("<4sHHQ", b"II+\0", 8, 0, place) if big else struct.pack("<4sI", b"II*\0", place)
        )

    def _write_strip(self, rows: IntArray) -> None:
        packer = zlib.compressobj(strategy=zlib.Z_RLE)
        data = packer.compress(rows.tobytes()) + packer.flush()
        self._starts.append(self._stream.tell())
        self._lengths.append(len(data))
        self._stream.write(data + bytes(len(data) % 2))  # strips and the directory begin at even places


_WRITERS: dict[str, type[_Writer]] = {".png": _PaletteWriter, ".tif": _GreyWriter, ".tiff": _GreyWriter}


def _palette(labels: Labels) -> ByteArray:
    """The palette [256, 3]: classes in their colours, `labels.ignore` in the light grey of Pascal VOC, others black."""
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(labels.colours, np.uint8).reshape(-1, 3)[:256]
    palette[: len(colours)] = colours
    if labels.ignore < 256:
        palette[labels.ignore] = _VOID
    return palette
