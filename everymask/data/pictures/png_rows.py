"""The rows of a PNG from top to bottom, of which a part is unpacked at a time.

zlib gives filtered rows (PNG specification, third edition, chapter 9). Undoing the filters is a loop over bytes, which
Pillow has in C: a few filtered rows behind the last row that is known make a small PNG of their own.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image
from PIL.ImagePalette import ImagePalette
from PIL.PngImagePlugin import PngImageFile

from everymask.core.arrays import Array, ByteArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
# Colour types of 8 bits by their bytes per pixel, which is all that a filter knows of a pixel.
_COLOUR_TYPE = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGBA}
_PIECE = 1 << 16
_BYTES_AT_ONCE = 1 << 22


def open_png_rows(stream: IO[bytes], image: PngImageFile) -> PngRows | None:
    """The rows of the PNG in `stream`, whose header `image` has read; None where they need the whole picture.

    These are interlaced and animated files, colours of 16 bits, and palette pictures without a palette.
    """
    stream.seek(16)
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", stream.read(13))
    if colour_type not in _SAMPLES or (bits > 8 and colour_type != GREY) or interlaced or image.is_animated:
        return None
    if colour_type != PALETTE:
        return PngRows(stream, (height, width), bits, colour_type)
    return PngRows(stream, (height, width), bits, colour_type, _complete(image.palette)) if image.palette else None


class PngRows:
    """Rows [n, W, C] of a PNG of `size` (H, W): uint8 grey or RGB, or uint16 grey; `colours` [256, 3] is its palette.

    Alpha is dropped, grey of fewer than 8 bits is scaled to 0-255.
    """

    def __init__(
        self, stream: IO[bytes], size: tuple[int, int], bits: int, colour_type: int, colours: ByteArray | None = None
    ) -> None:
        self._height, self._width = size
        self._bits, self._colour_type, self._colours = bits, colour_type, colours
        self._pixel_bytes = max(1, _SAMPLES[colour_type] * bits // 8)
        self._row_bytes = -(-self._width * _SAMPLES[colour_type] * bits // 8)
        self._pieces = _pixel_data(stream)
        self._inflater = zlib.decompressobj()
        self._last = bytes(self._row_bytes)
        self._top = 0

    def read(self, count: int) -> Array:
        """The next rows [count, W, C], fewer at the end; `ValueError` or `zlib.error` where the file is damaged."""
        count = min(count, self._height - self._top)
        colour = self._colour_type in (RGB, RGBA, PALETTE)
        rows = np.empty((count, self._width, 3 if colour else 1), np.uint16 if self._bits == 16 else np.uint8)
        at_once = max(1, _BYTES_AT_ONCE // self._row_bytes)
        for start in range(0, count, at_once):
            part = rows[start : start + at_once]
            part[...] = self._values(self._unfiltered(len(part)))
        self._top += count
        if self._top == self._height:
            self._check_end()
        return rows

    def _unfiltered(self, count: int) -> ByteArray:
        """The bytes [count, row bytes] of the next rows."""
        filtered = self._inflated(count * (1 + self._row_bytes))
        shape = self._row_bytes // self._pixel_bytes, 1 + count
        header = struct.pack(">IIBBBBB", *shape, 8, _COLOUR_TYPE[self._pixel_bytes], 0, 0, 0)
        data = zlib.compress(b"\0" + self._last + filtered, 0)
        picture = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        rows = np.asarray(PngImageFile(io.BytesIO(picture))).reshape(1 + count, self._row_bytes)[1:]
        self._last = rows[-1].tobytes()
        return rows

    def _inflated(self, wanted: int) -> bytearray:
        data = bytearray()
        while len(data) < wanted:
            packed = self._inflater.unconsumed_tail or next(self._pieces, b"")
            piece = self._inflater.decompress(packed, wanted - len(data))
            if not packed and not piece:
                raise ValueError(f"the pixels end before row {self._height}")
            data += piece
        return data

    def _check_end(self) -> None:
        """Read to the end, so that all checksums are checked; what is packed behind the last row is ignored."""
        self._inflater.decompress(self._inflater.unconsumed_tail, 1)
        for piece in self._pieces:
            if not self._inflater.eof:
                self._inflater.decompress(piece, 1)

    def _values(self, stored: ByteArray) -> Array:
        """Rows of bytes as [n, W, C]."""
        if self._bits == 16:
            return stored.view(">u2")[..., None]
        if self._bits == 8:
            values = stored.reshape(len(stored), self._width, -1)
        else:
            shifts = np.arange(8 - self._bits, -1, -self._bits, dtype=np.uint8)
            mask = 2**self._bits - 1
            values = ((stored[..., None] >> shifts) & np.uint8(mask)).reshape(len(stored), -1, 1)[:, : self._width]
            if self._colour_type == GREY:
                values = values * np.uint8(255 // mask)
        if self._colours is not None:
            return self._colours[values[..., 0]]
        return values[..., :1] if self._colour_type in (GREY, GREY_ALPHA) else values[..., :3]


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _pixel_data(stream: IO[bytes]) -> Iterator[bytes]:
    """The packed pixels piece by piece; every chunk's checksum is checked until the end mark (IEND) is found."""
    stream.seek(len(SIGNATURE))
    while True:
        length, name = struct.unpack(">I4s", _exactly(stream, 8))
        if name == b"IEND":
            return
        checksum = zlib.crc32(name)
        while length:
            piece = _exactly(stream, min(length, _PIECE))
            checksum = zlib.crc32(piece, checksum)
            length -= len(piece)
            if name == b"IDAT":
                yield piece
        if _exactly(stream, 4) != struct.pack(">I", checksum):
            raise ValueError(f"a wrong checksum in {name!r}")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise ValueError("the file ends before its end mark")
    return data


def _complete(palette: ImagePalette) -> ByteArray:
    """The colours [256, 3] of a palette as Pillow completes it where the file has fewer colours."""
    indices = Image.frombytes("P", (256, 1), bytes(range(256)))
    indices.putpalette(palette)
    colours: ByteArray = np.asarray(indices.convert("RGB"))[0]
    return colours
