"""Pictures read from top to bottom by strips of rows, so that a file of any height needs the memory of one strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from everymask.core.arrays import Array
from everymask.data.pictures.bands import ArrayRows, Bands, Rows, open_simple_tiff
from everymask.data.pictures.kinds import open_regular
from everymask.data.pictures.opening import needing, picture_errors
from everymask.data.pictures.png_rows import open_png_rows
from everymask.data.pictures.read import Header, as_read, open_picture, read_image
from everymask.data.pictures.tiff_rows import TiffRows
from everymask.errors import DataError, printable

MAX_SIDE = 1_000_000
MAX_PIXELS = 20_000_000_000
_MAX_BLOCK = 1 << 28


@dataclass(frozen=True, slots=True)
class Strips:
    """A picture of which `read(count)` gives the next rows [count, W, C], fewer at its end, and none behind it.

    The rows of all calls together are what `read_image` gives: RGB order, the displayed frame, `dtype` uint8, uint16 or
    float32. `size` is (H, W). `in_memory` says that the whole picture was decoded, because its kind cannot be read by
    parts.

    `read` raises what `read_image` raises, when it comes to the damaged or forbidden rows.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    in_memory: bool
    read: Callable[[int], Array]


@contextmanager
def open_strips(path: str | Path) -> Iterator[Strips]:
    """The picture in a file, to be read by strips while the context lasts.

    TIFF (8-bit grey and RGB, 16-bit and float grey, everything of `everymask.data.pictures.bands`), PNG that is neither
    interlaced nor 16-bit colour, and `.npy` are read by parts; every other file is decoded whole, and so are one that
    its orientation flag turns, an animation, and a TIFF whose packed strips are larger than 256 MiB.

    Raises `DataError` as `read_image` does, but for a side above 1,000,000 or more than 20,000,000,000 pixels where the
    file is read by parts.
    """
    file = Path(path)
    with ExitStack() as stack:
        with picture_errors(file):
            stream = stack.enter_context(open_regular(file))
            image, header = open_picture(stream, file, MAX_PIXELS, MAX_SIDE)
            rows = _rows(image, header, stream, file)
            in_memory = rows is None
            rows = rows or ArrayRows(read_image(file))
        yield Strips(header.size, header.channels, header.dtype, in_memory, _Reader(rows, file).read)


@contextmanager
def open_dates(paths: Sequence[str | Path]) -> Iterator[Strips]:
    """The pictures of one place in files, the channels of one after the other; as `open_strips`.

    `DataError` too where they differ in size, channels or type.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(open_strips(path)) for path in paths]
        last = parts[-1]
        for path, part in zip(paths, parts, strict=True):
            if (part.size, part.channels, part.dtype) != (last.size, last.channels, last.dtype):
                said = [f"{p.size[1]} x {p.size[0]} pixels, {p.channels} channels, {p.dtype}" for p in (last, part)]
                raise DataError(
                    f"{printable(path)}: expected {said[0]}, as the other date has, but found {said[1]}",
                    hint="cut or resample one of them, so that a pixel shows the same place at both dates",
                )

        def read(count: int) -> Array:
            return np.concatenate([part.read(count) for part in parts], axis=2)

        in_memory = any(part.in_memory for part in parts)
        yield Strips(last.size, len(parts) * last.channels, last.dtype, in_memory, read)


def _rows(image: ImageFile | Bands, header: Header, stream: IO[bytes], file: Path) -> Rows | None:
    """The rows of a picture that can be read by parts; None for others."""
    if header.orientation != 1:
        return None
    if isinstance(image, PngImageFile):
        return open_png_rows(stream, image)
    bands = open_simple_tiff(stream, file) if isinstance(image, TiffImageFile) else image
    if not isinstance(bands, Bands) or bands.pages:
        return None
    rows = bands.rows()
    return None if isinstance(rows, TiffRows) and rows.block_bytes > _MAX_BLOCK else rows


@dataclass(slots=True)
class _Reader:
    """Rows as `read_image` gives them, and its errors."""

    rows: Rows
    file: Path
    top: int = 0

    def read(self, count: int) -> Array:
        with picture_errors(self.file), needing(_MAX_BLOCK, self.file):
            rows = as_read(self.rows.read(count), self.file, self.top)
        self.top += len(rows)
        return rows
