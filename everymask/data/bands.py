"""Pictures of any number of channels, which Pillow does not read: TIFF with many or deep bands, and NumPy arrays.

- TIFF: interleaved or a plane per band, in strips or tiles, 8 to 64 bits; stored plainly or packed by Deflate, LZW,
  PackBits, Zstandard or LZMA, with or without a predictor. Bands that are marked as alpha are dropped.
- `.npy`: one array [H, W] or [H, W, C] of numbers. Files that hold Python objects are never unpickled.

tifffile finds the tags and the strips; packed ones are unpacked here to the size that they must have, so that a small
file cannot fill the memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from everymask.core.arrays import Array
from everymask.errors import DataError, printable

if TYPE_CHECKING:
    from tifffile import TiffPage

_PLAIN = 1
_DEFLATE = (8, 32946)
_BY_LIBTIFF = {5: "LZW", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard"}
_ALPHA = (1, 2)  # ExtraSamples: premultiplied and plain alpha
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_FLOAT_PREDICTOR = 3


@dataclass(frozen=True, slots=True)
class Bands:
    """What a file says of its values before they are read.

    `size` is (H, W) and `dtype` the type as stored; `channels` are those that `read` returns, [H, W, C].
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    orientation: object
    pages: bool
    read: Callable[[], Array]


def open_npy(file: Path) -> Bands:
    """The array in a `.npy` file, checked to be [H, W] or [H, W, C] of numbers and as long as its header says."""
    # Mapping the file checks its length against the header without reading it.
    stored = np.lib.format.open_memmap(file, mode="r")
    shape, dtype = stored.shape, stored.dtype
    del stored
    if len(shape) not in (2, 3) or dtype.kind not in "buif":
        raise DataError(
            f"{printable(file)}: expected an array [H, W] or [H, W, C] of numbers, but found {dtype} {list(shape)}",
            hint="save one picture per file with numpy.save, channels last",
        )
    channels = shape[2] if len(shape) == 3 else 1
    return Bands((shape[0], shape[1]), channels, dtype, 1, False, partial(_read_npy, file))


def _read_npy(file: Path) -> Array:
    stored: Array = np.load(file, allow_pickle=False)
    return stored[..., None] if stored.ndim == 2 else stored


def open_tiff(stream: IO[bytes], file: Path) -> Bands | None:
    """The bands of a TIFF; None where Pillow reads it without loss: grey, RGB with 8 bits, palettes, CMYK, JPEG."""
    stream.seek(0)
    head = stream.read(8)
    if head.startswith(b"MM\0+"):
        raise DataError(f"{printable(file)}: a BigTIFF in big-endian order", hint="save it in little-endian order")
    tags = ImageFileDirectory_v2(head + stream.read(8) if head[2:3] == b"+" else head)
    stream.seek(tags.next)
    tags.load(stream)
    samples, extras = int(tags.get(277, 1)), tuple(tags.get(338, ()))
    colours = max(0, samples - len(extras))
    kept = [band for band in range(samples) if band < colours or extras[band - colours] not in _ALPHA]
    if _is_for_pillow(tags, samples, len(kept)):
        return None
    bits, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    if len(bits) != 1 or len(kinds) != 1 or not bits <= {8, 16, 32, 64} or not kinds <= {1, 2, 3}:
        raise DataError(
            f"{printable(file)}: expected bands of one type with 8, 16, 32 or 64 bits, but found bits {sorted(bits)}, "
            f"kinds {sorted(kinds)}",
            hint="save the bands as uint8, uint16 or float32",
        )
    dtype = np.dtype(f"{'uif'[kinds.pop() - 1]}{bits.pop() // 8}")
    size = int(tags[257]), int(tags[256])
    return Bands(size, len(kept), dtype, tags.get(274, 1), tags.next != 0, partial(_read_tiff, stream, file, kept))


def _is_for_pillow(tags: ImageFileDirectory_v2, samples: int, kept: int) -> bool:
    kind = tags.get(262)
    if samples == 1 or kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return True
    return max(tags.get(258, (1,))) <= 8 and kept == (3 if kind == _RGB else 1)


def _read_tiff(stream: IO[bytes], file: Path, kept: list[int]) -> Array:
    """The bands `kept` as [H, W, C] in the machine's byte order."""
    from tifffile import TiffFile

    stream.seek(0)
    with TiffFile(stream) as tiff:
        page = tiff.pages.first
        packing, predictor = int(page.compression), int(page.predictor)
        _check_packing(page, packing, file)
        # What it decodes was unpacked before, and it has no float predictor of its own.
        page.compression = _PLAIN
        if predictor == _FLOAT_PREDICTOR:
            page.predictor = 1
        _, _, height, width, interleaved = page.shaped
        out = np.empty(page.shaped, page.dtype)
        tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, height)
        wide = page.tilewidth if page.is_tiled else width
        row_bytes = wide * interleaved * out.itemsize
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        expected = page.shaped[0] * -(-height // tall) * -(-width // wide)
        if len(segments) != expected:
            raise ValueError(f"expected {expected} strips or tiles, but found {len(segments)}")
        for index, (offset, size) in enumerate(segments):
            rows = tall if page.is_tiled else min(tall, height - index * tall % (-(-height // tall) * tall))
            stream.seek(offset)
            data = _unpacked(stream.read(size), packing, rows, row_bytes)
            if predictor == _FLOAT_PREDICTOR:
                data = _floats(data, rows, interleaved, out.itemsize, page.parent.byteorder)
            part, (band, _, top, left, _), _ = page.decode(data, index)
            space = out[band, 0, top : top + tall, left : left + wide]
            space[...] = np.asarray(part)[0, : space.shape[0], : space.shape[1]]
    bands: Array = out[0, 0] if interleaved > 1 else np.moveaxis(out[:, 0, :, :, 0], 0, -1)
    return bands if len(kept) == bands.shape[2] else bands[..., kept]


def _check_packing(page: TiffPage, packing: int, file: Path) -> None:
    if packing not in (_PLAIN, *_DEFLATE, *_BY_LIBTIFF) or page.fillorder != 1 or page.shaped[1] != 1:
        raise DataError(
            f"{printable(file)}: expected bands stored plainly or packed by Deflate, {', '.join(_BY_LIBTIFF.values())},"
            f" but found compression {packing}",
            hint="save the TIFF again with Deflate or without compression",
        )


def _unpacked(data: bytes, packing: int, rows: int, row_bytes: int) -> bytearray:
    """The bytes of one strip or tile; `ValueError` where they are fewer than `rows` of `row_bytes`."""
    wanted = rows * row_bytes
    if packing in _DEFLATE:
        # One more than wanted makes zlib read, and check, the checksum.
        data = zlib.decompressobj().decompress(data, wanted + 1)
    elif packing != _PLAIN:
        data = _by_libtiff(data, packing, rows, row_bytes)
    if len(data) < wanted:
        raise ValueError(f"a strip or tile has {len(data)} bytes instead of {wanted}")
    return bytearray(data[:wanted])


def _by_libtiff(data: bytes, packing: int, rows: int, row_bytes: int) -> bytes:
    """Unpacks a strip by presenting it to Pillow's libtiff as a grey picture `row_bytes` wide."""
    tags = {256: row_bytes, 257: rows, 258: 8, 259: packing, 262: _BLACK_IS_ZERO}
    start = 8 + 2 + 12 * (len(tags) + 4) + 4
    tags |= {273: start, 277: 1, 278: rows, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(4)
    return TiffImageFile(io.BytesIO(head + data)).tobytes()


def _floats(data: bytearray, rows: int, samples: int, itemsize: int, byteorder: str) -> bytearray:
    """Undo the float predictor (TIFF Technical Note 3): rows of byte planes, each byte less the one a pixel before."""
    steps = np.frombuffer(data, np.uint8).reshape(rows, -1, samples)
    planes = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(rows, itemsize, -1)
    values = planes if byteorder == ">" else planes[:, ::-1]
    return bytearray(values.swapaxes(1, 2).tobytes())
