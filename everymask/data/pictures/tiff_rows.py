"""The rows of a TIFF from top to bottom: in strips or tiles, interleaved or a plane per band, plain or packed.

tifffile finds the tags and the strips; packed ones are unpacked here to the size that they must have, so that a small
file cannot fill the memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from everymask.core.arrays import Array
from everymask.errors import DataError, printable

if TYPE_CHECKING:
    from tifffile import TiffPage

PLAIN = 1
_DEFLATE = (8, 32946)
_BY_LIBTIFF = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
PACKINGS = (PLAIN, *_DEFLATE, *_BY_LIBTIFF)
_BLACK_IS_ZERO = 1
_HORIZONTAL_PREDICTOR, _FLOAT_PREDICTOR = 2, 3
_PREDICTORS = (1, _HORIZONTAL_PREDICTOR, _FLOAT_PREDICTOR)


class TiffRows:
    """The bands `kept` of a TIFF's first page, read from top to bottom in the machine's byte order.

    One strip or row of tiles is in memory at a time; of a strip that is stored plainly, only the wanted rows.
    """

    def __init__(self, stream: IO[bytes], file: Path, dtype: np.dtype[Any], kept: list[int]) -> None:
        from tifffile import TiffFile

        stream.seek(0)
        page = TiffFile(stream).pages.first
        _check_packing(page, file)
        self._stream, self._page, self._dtype, self._kept = stream, page, dtype, kept
        self._planes, _, self._height, self._width, self._interleaved = page.shaped
        self._tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, self._height)
        self._wide = page.tilewidth if page.is_tiled else self._width
        self._down, self._across = -(-self._height // self._tall), -(-self._width // self._wide)
        self._segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        expected = self._planes * self._down * self._across
        if len(self._segments) != expected:
            raise ValueError(f"expected {expected} strips or tiles, but found {len(self._segments)}")
        self._by_row = page.compression == PLAIN and not page.is_tiled
        self._top = 0
        self._block = self._empty(0)

    @property
    def block_bytes(self) -> int:
        """The size of the strip or the row of tiles from which rows come; 0 where any rows can be read."""
        return 0 if self._by_row else self._tall * self._empty(1).nbytes

    def read(self, count: int) -> Array:
        """The next rows [count, W, C], fewer at the end; `ValueError` where the file is damaged or cut short."""
        rows = self._empty(min(count, self._height - self._top))
        filled = 0
        while filled < len(rows):
            if not len(self._block):
                self._block = self._next_block(self._top + filled, len(rows) - filled)
            taken = min(len(self._block), len(rows) - filled)
            rows[filled : filled + taken] = self._block[:taken]
            self._block = self._block[taken:]
            filled += taken
        self._top += filled
        if self._top == self._height:
            self._block = self._empty(0)
        return rows if len(self._kept) == rows.shape[2] else rows[..., self._kept]

    def _empty(self, rows: int) -> Array:
        return np.empty((rows, self._width, self._planes * self._interleaved), self._dtype)

    def _next_block(self, top: int, wanted: int) -> Array:
        """The rows from `top` to the end of its strip or row of tiles, at most `wanted` of a plain strip."""
        down, skipped = divmod(top, self._tall)
        count = min(self._tall - skipped, self._height - top)
        block = self._empty(min(count, wanted) if self._by_row else count)
        for plane in range(self._planes):
            bands = slice(plane * self._interleaved, (plane + 1) * self._interleaved)
            for across in range(self._across):
                space = block[:, across * self._wide : (across + 1) * self._wide, bands]
                index = (plane * self._down + down) * self._across + across
                rows = self._tall if self._page.is_tiled else len(block)
                space[...] = self._segment(index, skipped, rows)[: len(space), : space.shape[1]]
        return block

    def _segment(self, index: int, skipped: int, rows: int) -> Array:
        """`rows` rows [rows, W, C] of a strip or tile, behind those that are skipped."""
        page = self._page
        row_bytes = self._wide * self._interleaved * self._dtype.itemsize
        offset, size = self._segments[index]
        self._stream.seek(offset + skipped * row_bytes)
        size = min(size - skipped * row_bytes, rows * row_bytes) if page.compression == PLAIN else size
        data = _unpacked(self._stream.read(max(0, size)), page.compression, rows, row_bytes)
        if page.predictor == _FLOAT_PREDICTOR:
            data = _floats(data, rows, self._interleaved, self._dtype.itemsize, page.parent.byteorder)
        values = np.frombuffer(data, self._dtype.newbyteorder(page.parent.byteorder))
        values = values.reshape(rows, self._wide, self._interleaved)
        if page.predictor == _HORIZONTAL_PREDICTOR:
            steps = values.view(f"{page.parent.byteorder}u{self._dtype.itemsize}")
            values = np.cumsum(steps, axis=1, dtype=f"u{self._dtype.itemsize}").view(self._dtype)
        return values


def _check_packing(page: TiffPage, file: Path) -> None:
    if (
        page.compression not in PACKINGS
        or page.fillorder != 1
        or page.shaped[1] != 1
        or page.predictor not in _PREDICTORS
    ):
        raise DataError(
            f"{printable(file)}: expected bands stored plainly or packed by Deflate, {', '.join(_BY_LIBTIFF.values())},"
            f" but found compression {int(page.compression)}, predictor {int(page.predictor)}",
            hint="save the TIFF again with Deflate or without compression",
        )


def _unpacked(data: bytes, packing: int, rows: int, row_bytes: int) -> bytes:
    """The bytes of one strip or tile; `ValueError` where they are fewer than `rows` of `row_bytes`."""
    wanted = rows * row_bytes
    if packing in _DEFLATE:
        # One more than wanted makes zlib read, and check, the checksum.
        data = zlib.decompressobj().decompress(data, wanted + 1)
    elif packing != PLAIN:
        data = _by_libtiff(data, packing, rows, row_bytes)
    if len(data) < wanted:
        raise ValueError(f"a strip or tile has {len(data)} bytes instead of {wanted}")
    return data[:wanted]


def _by_libtiff(data: bytes, packing: int, rows: int, row_bytes: int) -> bytes:
    """Unpacks a strip by presenting it to Pillow's libtiff as a grey picture `row_bytes` wide."""
    tags = {256: row_bytes, 257: rows, 258: 8, 259: packing, 262: _BLACK_IS_ZERO}
    start = 8 + 2 + 12 * (len(tags) + 4) + 4
    tags |= {273: start, 277: 1, 278: rows, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(4)
    return TiffImageFile(io.BytesIO(head + data)).tobytes()


def _floats(data: bytes, rows: int, samples: int, itemsize: int, byteorder: str) -> bytes:
    """Undo the float predictor (TIFF Technical Note 3): rows of byte planes, each byte less the one a pixel before."""
    steps = np.frombuffer(data, np.uint8).reshape(rows, -1, samples)
    planes = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(rows, itemsize, -1)
    values = planes if byteorder == ">" else planes[:, ::-1]
    return values.swapaxes(1, 2).tobytes()
