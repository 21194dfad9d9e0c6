"""Label maps and colours written from top to bottom by strips of rows, which needs the memory of one strip."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

import numpy as np

from everymask.core.arrays import ByteArray, IntArray
from everymask.core.files import whole_file
from everymask.core.labels import Labels
from everymask.data.pictures.geotags import GeoTag
from everymask.data.pictures.png_rows import PALETTE, RGB, SIGNATURE, chunk
from everymask.errors import ConfigError, DataError, printable

_CHUNK_BYTES = 1 << 20
_VOID = (224, 224, 192)
_STRIP_BYTES = 1 << 18
_UP_FILTER = 2
_CLASSIC_BYTES = 1 << 32
_HEADER_BYTES = 1000
_LISTED_BYTES = 9  # the place and the length of a strip in the directory, and a byte that makes its end even


@contextmanager
def writing_label_map(
    path: str | Path, size: tuple[int, int], labels: Labels, geotags: Sequence[GeoTag] = ()
) -> Iterator[Callable[[IntArray], None]]:
    """Yield `write(rows)`, which takes the next rows [n, W] of a label map of `size` (H, W) from top to bottom.

    A `.png` is an 8-bit palette PNG whose indices are the class ids and whose palette has their colours.
    A `.tif` or `.tiff` is a grey TIFF in Deflate strips with 8 bits, or 16 or 32 where `labels.ignore` needs
    them, and a BigTIFF from 4 GiB; it has the `geotags` of the picture (see `read_geotags`). The file appears when the
    context ends without an error, whole or not at all.

    Raises `ConfigError` for another ending; `DataError` for rows of another width, more or fewer than H rows, and ids
    that the file cannot hold; `MachineError` when the disk refuses.
    """
    file, (height, width) = Path(path), size
    kind = _WRITERS.get(file.suffix.lower())
    if kind is None:
        raise ConfigError(f"{printable(file)}: expected a name ending in .png, .tif or .tiff")
    with whole_file(file) as temporary, temporary.open("wb") as stream, ExitStack() as spare:
        writer = kind(stream, size, labels, spare, geotags)
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


@contextmanager
def writing_colours(path: str | Path, size: tuple[int, int]) -> Iterator[Callable[[ByteArray], None]]:
    """Yield `write(rows)`, which takes the next rows [n, W, 3] uint8 of a PNG of `size` (H, W) from top to bottom; they
    are to be H in all. The file appears when the context ends without an error, whole or not at all.
    """
    with whole_file(Path(path)) as temporary, temporary.open("wb") as stream:
        writer = _PngRows(stream, size, RGB, 3)
        yield lambda rows: writer.write(rows.reshape(len(rows), -1))
        writer.finish()


class _Writer(Protocol):
    dtype: np.dtype[Any]

    def __init__(
        self, stream: IO[bytes], size: tuple[int, int], labels: Labels, spare: ExitStack, geotags: Sequence[GeoTag]
    ) -> None: ...

    def write(self, rows: IntArray) -> None: ...

    def finish(self) -> None: ...


class _PngRows:
    """The rows of a PNG, less the row above, whose long runs of zeros zlib's run-length mode packs fast and small."""

    def __init__(self, stream: IO[bytes], size: tuple[int, int], colour_type: int, samples: int) -> None:
        self._stream, self._packed = stream, bytearray()
        self._packer = zlib.compressobj(strategy=zlib.Z_RLE)
        self._last: IntArray = np.zeros((1, size[1] * samples), np.uint8)
        stream.write(SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *size[::-1], 8, colour_type, 0, 0, 0)))

    def write(self, rows: IntArray) -> None:
        """The bytes [n, W * samples] of the next rows."""
        steps = np.diff(rows, axis=0, prepend=self._last)
        self._last = rows[-1:]
        filtered = np.pad(steps, ((0, 0), (1, 0)), constant_values=_UP_FILTER)
        self._packed += self._packer.compress(filtered.tobytes())
        if len(self._packed) >= _CHUNK_BYTES:
            self._write_chunk()

    def finish(self) -> None:
        """Write what ends the file."""
        self._packed += self._packer.flush()
        self._write_chunk()
        self._stream.write(chunk(b"IEND", b""))

    def _write_chunk(self) -> None:
        self._stream.write(chunk(b"IDAT", bytes(self._packed)))
        self._packed.clear()


class _PaletteWriter(_PngRows):
    """A palette PNG."""

    def __init__(
        self, stream: IO[bytes], size: tuple[int, int], labels: Labels, spare: ExitStack, geotags: Sequence[GeoTag]
    ) -> None:
        super().__init__(stream, size, PALETTE, 1)
        self.dtype = np.dtype(np.uint8)
        stream.write(chunk(b"PLTE", _palette(labels).tobytes()))


class _GreyWriter:
    """A grey TIFF in Deflate strips.

    `tifffile` takes strips from an iterator, while here rows are handed over: the packed strips, which are small, wait
    in a file without a name until all are there. Then it is known too whether the TIFF must be a BigTIFF.
    """

    def __init__(
        self, stream: IO[bytes], size: tuple[int, int], labels: Labels, spare: ExitStack, geotags: Sequence[GeoTag]
    ) -> None:
        self.dtype = np.min_scalar_type(labels.ignore).newbyteorder("<")
        self._stream, self._size, self._geotags = stream, size, geotags
        self._tall = max(1, _STRIP_BYTES // (size[1] * self.dtype.itemsize))
        self._waiting = np.empty((0, size[1]), self.dtype)
        self._lengths: list[int] = []
        waiting = TemporaryFile(dir=Path(stream.name).parent)  # noqa: SIM115 (`spare` closes it)
        self._packed = spare.enter_context(waiting)

    def write(self, rows: IntArray) -> None:
        waiting = np.concatenate([self._waiting, rows])
        whole = len(waiting) // self._tall * self._tall
        for top in range(0, whole, self._tall):
            self._pack(waiting[top : top + self._tall])
        self._waiting = waiting[whole:].copy()

    def finish(self) -> None:
        from tifffile import TiffWriter

        if len(self._waiting):
            self._pack(self._waiting)
        self._packed.seek(0)
        header = _HEADER_BYTES + sum(tag.nbytes for tag in self._geotags)
        big = sum(self._lengths) + _LISTED_BYTES * len(self._lengths) + header > _CLASSIC_BYTES
        with TiffWriter(self._stream, bigtiff=big, byteorder="<") as tiff:
            tiff.write(
                (self._packed.read(length) for length in self._lengths),
                shape=self._size,
                dtype=self.dtype,
                rowsperstrip=self._tall,
                photometric="minisblack",
                compression="zlib",
                metadata=None,
                software=False,
                extratags=[(tag.code, tag.dtype, len(tag.value), tag.value, True) for tag in self._geotags],
            )

    def _pack(self, rows: IntArray) -> None:
        packer = zlib.compressobj(strategy=zlib.Z_RLE)
        self._lengths.append(self._packed.write(packer.compress(rows.tobytes()) + packer.flush()))


_WRITERS: dict[str, type[_Writer]] = {".png": _PaletteWriter, ".tif": _GreyWriter, ".tiff": _GreyWriter}


def _palette(labels: Labels) -> ByteArray:
    """The palette [256, 3]: classes in their colours, `labels.ignore` in the light grey of Pascal VOC, others black."""
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(labels.colours, np.uint8).reshape(-1, 3)[:256]
    palette[: len(colours)] = colours
    if labels.ignore < 256:
        palette[labels.ignore] = _VOID
    return palette
