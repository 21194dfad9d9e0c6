"""The one reader of picture files.

Every picture that everymask sees comes through here, so that training, evaluation and prediction see the same pixels:

- The header is checked before anything is decoded: kind of file, sides, number of pixels.
- The camera's orientation flag (EXIF) is applied: arrays and sizes are in the displayed frame.
- Alpha is dropped, never blended: the colours under it are what the file stores. Palettes become RGB.
- 1-, 2- and 4-bit grey is scaled to 0-255. 16-bit grey stays uint16; 16-bit colour is reduced to 8 bit by Pillow.
- A TIFF with other bands than grey, colour and alpha is refused: Pillow would drop them.
- Of an animation only the first frame is decoded, with a logged warning. A TIFF of several pages is refused.
- Colour profiles are not applied.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from everymask.core.arrays import Array, IntArray
from everymask.core.files import whole_file
from everymask.errors import ConfigError, DataError, EverymaskError, MachineError, printable

MAX_SIDE = 65_500
MAX_PIXELS = 500_000_000
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".pfm", ".jp2", ".j2k", ".mpo"}
)
"""File endings, lower case, of what a folder of pictures may hold."""

# Pillow's classes are called directly: its Image.open checks sizes against a global limit that warns or raises.
_READERS: dict[str, Callable[[IO[bytes]], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "PPM": PpmImageFile,
    "JPEG2000": Jpeg2KImageFile,
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
)
_SUFFIX_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
    ".gif": "GIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000",
}  # fmt: skip
_LABEL_FORMATS = ("PNG", "TIFF", "BMP", "GIF")
_WORD_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", *_WORD_MODES)
_SHOWN_FORMATS = "PNG, JPEG, BMP, TIFF, WebP, GIF, PPM or JPEG 2000"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself before it is decoded.

    `size` is (H, W) as displayed and `stored_size` as stored; they differ where `orientation` (EXIF, 1-8) turns the
    picture. `channels` and `dtype` are those of the array that `read_image` returns, `bits` those of one stored value.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    bits: int
    format: str
    orientation: int
    stored_size: tuple[int, int]

    def fits_name(self, path: str | Path) -> bool:
        """False where the file's ending belongs to another format, as of a PNG that is called .jpg."""
        return _SUFFIX_FORMATS.get(Path(path).suffix.lower(), self.format) == self.format


def read_header(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What the file says of itself, without decoding it.

    Raises `DataError` where `read_image` would without decoding, `MachineError` when the disk refuses.
    """
    with _opened(path, max_pixels) as (_, header):
        return header


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Array:
    """The picture as [H, W, C] in RGB order and the displayed frame: uint8, uint16 or float32.

    C is 1 for grey and 3 for colour. See the module's text for what becomes of alpha, palettes, orientation and frames.

    Raises `DataError` for a missing, empty, cut short, damaged or foreign file, for a side above 65,500 or more than
    `max_pixels` pixels, and for NaN or infinite values; `MachineError` when the disk or the memory refuses.
    """
    with _opened(path, max_pixels) as (image, header):
        file = Path(path)
        _check_frames(image, header, file)
        pixels = _pixels(_decoded(image, header, file), header)
    if pixels.dtype == np.float32:
        _refuse_non_finite(pixels, file)
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        pixels = _as_words(pixels, file)
    return pixels if header.format == "TIFF" else _upright(pixels, header.orientation)


def read_label_map(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> IntArray:
    """The numbers that a label map stores, [H, W]: uint8, uint16 or int32.

    Palette files give indices and 1-, 2- and 4-bit grey the stored numbers, never brightness. Three equal channels
    count as one, alpha is dropped. An orientation flag is ignored, since programs that paint label maps work in the
    displayed frame. Float files are accepted where all numbers are whole.

    Raises `DataError` as `read_image` does, and for JPEG and other lossy formats, unequal channels, fractions and
    negative numbers.
    """
    with _opened(path, max_pixels) as (image, header):
        file = Path(path)
        if header.format not in _LABEL_FORMATS:
            raise DataError(
                f"{printable(file)}: expected a label map in a lossless format (PNG, TIFF, BMP or GIF), but found "
                f"{header.format}",
                hint="lossy formats change the numbers: export the masks again as PNG",
            )
        _check_frames(image, header, file)
        stored = np.asarray(_decoded(image, header, file))
    if image.mode in ("1", "L") and header.bits < 8:
        stored = (stored.astype(np.uint8) * (255 if image.mode == "1" else 1)) // (255 // (2**header.bits - 1))
    return _one_channel(stored, image.mode, file)


def write_image(path: str | Path, array: Array) -> None:
    """Write [H, W], [H, W, 1] or [H, W, 3] as PNG (uint8, or uint16 grey) or JPEG (uint8, quality 95), whole or not."""
    file = Path(path)
    kind = _SUFFIX_FORMATS.get(file.suffix.lower())
    if kind not in ("PNG", "JPEG"):
        raise ConfigError(f"{printable(file)}: expected a name ending in .png or .jpg")
    pixels = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    allowed = {
        ("PNG", "uint8", 2),
        ("PNG", "uint8", 3),
        ("PNG", "uint16", 2),
        ("JPEG", "uint8", 2),
        ("JPEG", "uint8", 3),
    }
    if (kind, str(pixels.dtype), pixels.ndim) not in allowed or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ConfigError(
            f"{printable(file)}: a picture to write must be uint8 [H, W(, 3)] (as PNG also uint16 [H, W]), "
            f"but got {array.dtype} {list(array.shape)}"
        )
    with whole_file(file) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format=kind, **_save_options(kind))


def _save_options(kind: str | None) -> dict[str, int]:
    return {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"compress_level": 4}


@contextmanager
def _opened(path: str | Path, max_pixels: int) -> Iterator[tuple[ImageFile, Header]]:
    file = Path(path)
    try:
        _check_regular(file)
        with file.open("rb") as stream:
            kind = _kind(stream, file)
            stream.seek(0)
            image = _READERS[kind](stream)
            header = _header(image, kind, stream)
            _check_size(header, max_pixels, file)
            yield image, header
    except EverymaskError:
        raise
    except MemoryError as error:
        raise MachineError(f"{printable(file)}: not enough memory to decode the picture") from error
    except FileNotFoundError as error:
        raise DataError(f"{printable(file)}: there is no such file") from error
    except Exception as error:  # damaged files make Pillow's parsers raise nearly every class
        if isinstance(error, OSError) and error.errno is not None:
            raise MachineError(f"{printable(file)}: cannot be read: {error.strerror}") from error
        raise DataError(
            f"{printable(file)}: the picture is damaged or cut short ({printable(error)})",
            hint="fetch or export the file again",
        ) from error


def _check_regular(file: Path) -> None:
    try:
        status = file.stat()
    except ValueError as error:
        raise DataError(f"{printable(file)}: a file name cannot hold a NUL character") from error
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise DataError(f"{printable(file)}: expected a picture file, but found {found}")
    if status.st_size == 0:
        raise DataError(f"{printable(file)}: the file is empty", hint="fetch or export the file again")


def _kind(stream: IO[bytes], file: Path) -> str:
    head = stream.read(512)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"f") and head[2:3].isspace():
        return "PPM"
    text = head.lstrip().lower()
    hint = f"allowed are {_SHOWN_FORMATS}"
    if text.startswith(b"version https://git-lfs"):
        found, hint = "a Git LFS pointer", "fetch the real files with: git lfs pull"
    elif text.startswith((b"<!doctype html", b"<html")):
        found, hint = "a web page", "the download was refused or redirected: fetch the file again"
    elif text.startswith((b"%!ps", b"\xc5\xd0\xd3\xc6", b"%pdf", b"8bps", b"<svg", b"<?xml", b"\xd7\xcd\xc6\x9a")):
        found = "a document or drawing (PostScript, PDF, PSD, SVG, WMF)"
    else:
        found = "something else"
    raise DataError(f"{printable(file)}: expected a picture, but found {found}", hint=hint)


def _header(image: ImageFile, kind: str, stream: IO[bytes]) -> Header:
    bits, grey_alpha, bands = 8, False, 1
    if kind == "PNG":
        position = stream.tell()
        stream.seek(24)
        bits, colour_type = stream.read(2)
        grey_alpha = colour_type == 4
        exif = image.info.get("exif") or _late_exif(stream)
        stream.seek(position)
        orientation = _orientation(exif)
    elif isinstance(image, TiffImageFile):
        bits, bands = int(image.tag_v2.get(258, (1,))[0]), int(image.tag_v2.get(277, 1))
        orientation = _valid_orientation(image.tag_v2.get(274, 1))
    else:
        bits = {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode in _WORD_MODES else 8)
        orientation = _orientation(image.info.get("exif"))
    if bands > len(image.getbands()):
        raise DataError(
            f"{printable(getattr(stream, 'name', ''))}: expected 1 or 3 bands, with or without alpha, but the TIFF has "
            f"{bands}",
            hint="split the bands into pictures of 1 or 3 bands",
        )
    width, height = image.size
    # Pillow's TIFF reader gives the displayed size, the other readers the stored one.
    turned = (width, height) if orientation >= 5 else (height, width)
    shown, stored = ((height, width), turned) if kind == "TIFF" else (turned, (height, width))
    dtype = "float32" if image.mode == "F" else "uint16" if image.mode in ("I", *_WORD_MODES) else "uint8"
    channels = 1 if image.mode in _GREY_MODES or grey_alpha else 3
    return Header(shown, channels, dtype, bits, kind, orientation, stored)


def _check_size(header: Header, max_pixels: int, file: Path) -> None:
    height, width = header.size
    if min(height, width) < 1:
        raise DataError(f"{printable(file)}: the header says {width} x {height} pixels")
    if max(height, width) > MAX_SIDE or height * width > max_pixels:
        raise DataError(
            f"{printable(file)}: expected sides up to {MAX_SIDE} and up to {max_pixels:,} pixels, but the header says "
            f"{width} x {height}",
            hint="cut the picture into tiles or make it smaller",
        )


def _check_frames(image: ImageFile, header: Header, file: Path) -> None:
    if not getattr(image, "is_animated", False):
        return
    if header.format == "TIFF":
        raise DataError(
            f"{printable(file)}: expected one page, but the TIFF has several", hint="save each page as its own file"
        )
    _log.warning("%s: an animation; only its first frame is used", printable(file))


def _decoded(image: ImageFile, header: Header, file: Path) -> ImageFile:
    if header.format == "PNG":
        # Pillow skips the checksums of the pixel data while it decodes.
        with file.open("rb") as stream:
            PngImageFile(stream).verify()
    try:
        image.load()
    except OSError as error:
        if header.format != "JPEG" or error.errno is not None:
            raise
        return _jpeg_without_end(file, error)
    return image


def _jpeg_without_end(file: Path, error: OSError) -> ImageFile:
    """The picture, if all that the file lacks is its end marker.

    libjpeg fills what is missing with whatever follows. So the file is complete if two different endings give the
    same pixels. Progressive files refine the picture scan by scan and cannot be judged so.
    """
    data = file.read_bytes()
    if b"\xff\xc2" in data or data.endswith(b"\xff\xd9"):
        raise error
    data = data.removesuffix(b"\xff")  # half of the end marker, or of an escaped byte
    endings = (b"\xff\xd9", bytes(range(1, 200)) * 8 + b"\xff\xd9")
    first, second = (JpegImageFile(io.BytesIO(data + ending)) for ending in endings)
    if first.tobytes() != second.tobytes():
        raise error
    _log.warning("%s: the JPEG lacks its end marker, but all its pixels are there", printable(file))
    return first


def _pixels(image: Image.Image, header: Header) -> Array:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("CMYK", "YCbCr", "HSV", "RGBa"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "RGB")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in (*_GREY_MODES, "RGB", "RGBA", "RGBX"):
        raise ValueError(f"pixels of the kind {image.mode} are not supported: save the picture as RGB")
    array = np.asarray(image)
    array = array[..., None] if array.ndim == 2 else array[..., : header.channels]
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def _as_words(pixels: Array, file: Path) -> Array:
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65_535:
        raise DataError(
            f"{printable(file)}: expected values from 0 to 65535, but found {low} to {high}",
            hint="save the picture with 8 or 16 bits per channel, or as 32-bit float",
        )
    return pixels.astype(np.uint16)


def _refuse_non_finite(pixels: Array, file: Path) -> None:
    bad = ~np.isfinite(pixels)
    if bad.any():
        row, column, _ = np.argwhere(bad)[0].tolist()
        raise DataError(
            f"{printable(file)}: {int(bad.sum())} values are NaN or infinite, the first at row {row}, column {column}",
            hint="fill these pixels with a number",
        )


def _upright(pixels: Array, orientation: int) -> Array:
    """The stored array turned into the displayed frame (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _one_channel(stored: Array, mode: str, file: Path) -> IntArray:
    if stored.ndim == 3:
        colours = stored[..., :1] if mode in ("LA", "La", "PA") else stored[..., :3]
        differs = (colours != colours[..., :1]).any(axis=2)
        if mode == "CMYK" or differs.any():
            row, column = np.argwhere(differs)[0].tolist() if differs.any() else (0, 0)
            raise DataError(
                f"{printable(file)}: expected one number per pixel, but found colours, such as "
                f"{colours[row, column].tolist()} at row {row}, column {column}",
                hint="export the masks as palette or grey PNG with one number per class or object",
            )
        stored = colours[..., 0]
    if stored.dtype.kind == "f":
        whole = np.isfinite(stored) & (stored == np.round(stored)) & (np.abs(stored) < 2**31)
        if not whole.all():
            row, column = np.argwhere(~whole)[0].tolist()
            raise DataError(
                f"{printable(file)}: expected whole numbers, but found {stored[row, column]} at row {row}, "
                f"column {column}",
                hint="save the label map as integers",
            )
        stored = stored.astype(np.int32)
    if stored.dtype.kind == "i" and stored.size and stored.min() < 0:
        row, column = np.argwhere(stored < 0)[0].tolist()
        raise DataError(
            f"{printable(file)}: expected numbers from 0 to 2147483647, but found {stored[row, column]} at row {row}, "
            f"column {column}",
            hint="store 'ignore' as 255 or 65535",
        )
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))


def _late_exif(stream: IO[bytes]) -> bytes:
    """The eXIf chunk of a PNG, which may stand behind the pixels; empty if there is none."""
    stream.seek(8)
    while len(start := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name == b"eXIf":
            return stream.read(min(length, 1 << 16))
        stream.seek(length + 4, os.SEEK_CUR)
    return b""


def _orientation(exif: object) -> int:
    """The orientation tag of the first directory of an EXIF block; 1 where there is none or it is invalid."""
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, entry)
            if tag == 0x0112:
                return _valid_orientation(value if kind == 3 else 0)
    except struct.error:
        _log.warning("a picture's EXIF block is damaged; its orientation is taken as upright")
    return 1


def _valid_orientation(value: object) -> int:
    if isinstance(value, int) and 1 <= value <= 8:
        return value
    _log.warning("a picture's EXIF orientation is %s, which does not exist; taken as 1", value)
    return 1
