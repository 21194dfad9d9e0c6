"""The one reader of picture files.

Every picture that everymask sees comes through here, so that training, evaluation and prediction see the same pixels:

- The header is checked before anything is decoded: kind of file, sides, number of pixels.
- The camera's orientation flag (EXIF) is applied: arrays and sizes are in the displayed frame.
- Alpha is dropped, never blended: the colours under it are what the file stores. Palettes become RGB.
- 1-, 2- and 4-bit grey is scaled to 0-255. 16-bit grey stays uint16, 16-bit colour in a TIFF too; 16-bit colour in
  other formats is reduced to 8 bit by Pillow.
- TIFF files and NumPy arrays (`.npy`) may have any number of channels: see `everymask.data.pictures.bands`.
- Of an animation only the first frame is decoded, with a logged warning. A TIFF of several pages is refused.
- Colour profiles are not applied, nor are PNG's gamma and HDR chunks. AVIF and HEIC are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

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
from everymask.data.pictures.bands import Bands, open_npy, open_tiff
from everymask.data.pictures.jpeg import decode_without_end, has_tail
from everymask.data.pictures.kinds import kind_of
from everymask.data.pictures.opening import Readable, needing, open_source
from everymask.data.pictures.orientation import late_exif, read_orientation, turn_upright, valid_orientation
from everymask.errors import ConfigError, DataError, printable

MAX_SIDE = 65_500
MAX_PIXELS = 500_000_000
_BYTES_PER_PIXEL = 8
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
    | {".pfm", ".jp2", ".j2k", ".mpo"}
)
"""File endings, lower case, of what a folder of pictures may hold; `.npy` see `pictures_among`."""
ARRAY_SUFFIX = ".npy"

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
_SUFFIX_FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
    ".gif": "GIF", ".jp2": "JPEG2000", ".j2k": "JPEG2000", ARRAY_SUFFIX: "NPY",
}  # fmt: skip
_LABEL_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "NPY")
_WORD_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY_MODES = ("1", "L", "LA", "La", "I", "F", *_WORD_MODES)

Remark: TypeAlias = Literal["tail", "profile"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself before it is decoded.

    `size` is (H, W) as displayed and `stored_size` as stored; they differ where `orientation` (EXIF, 1-8) turns the
    picture. `channels` and `dtype` are those of the array that `read_image` returns, `bits` those of one stored value.
    `remarks` are oddities that do not hinder reading: something behind a JPEG's end, a colour profile other than sRGB.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    bits: int
    format: str
    orientation: int
    stored_size: tuple[int, int]
    remarks: tuple[Remark, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes of all values, as they are stored without packing."""
        height, width = self.size
        return height * width * self.channels * self.bits // 8

    def fits_name(self, path: str | Path) -> bool:
        """False where the file's ending belongs to another format, as of a PNG that is called .jpg."""
        return _SUFFIX_FORMATS.get(Path(path).suffix.lower(), self.format) == self.format


Stored: TypeAlias = Literal["numbers", "palette", "colours"]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The numbers `ids` [H, W] of a label map, how the file stores them, and whether the alpha it drops varies."""

    ids: IntArray
    stored: Stored
    alpha_varies: bool


def read_header(source: Readable, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What the file says of itself, without decoding it.

    Raises what `read_image` would without decoding.
    """
    with _opened(source, max_pixels) as opened:
        return opened.header


def read_image(source: Readable, *, max_pixels: int = MAX_PIXELS, reduction: int = 1) -> Array:
    """The picture as [H, W, C] in RGB order and the displayed frame: uint8, uint16 or float32.

    `source` is a path, the bytes of a file, or a file opened in binary mode, which is read from where it stands to its
    end. C is 1 for grey, 3 for colour, and what the file holds for TIFF and `.npy`. Other whole numbers become uint16,
    other floats float32. See the module's text for what becomes of alpha, palettes, orientation and frames.
    A JPEG is decoded at 1 / `reduction` (1, 2, 4 or 8) of its size, rounded up, which takes less time: each pixel is
    the mean of the `reduction` x `reduction` that it covers. Pictures of other formats keep their size.

    Raises `DataError` for a missing, empty, cut short, damaged or foreign file (`UnusableHere` where the disk, a
    permission or the memory refuses this one), for a side above 65,500 or more than
    `max_pixels` pixels, and for NaN or infinite values; `MachineError` where no file can be read.
    """
    with _opened(source, max_pixels) as opened:
        image, header, file = opened.image, opened.header, opened.file
        _check_frames(image, header, file)
        if reduction > 1 and isinstance(image, JpegImageFile) and header.orientation == 1:
            image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
        if isinstance(image, Bands):
            pixels = image.rows().read(image.size[0])
        else:
            pixels = _pixels(_decoded(opened, image), header)
    pixels = as_read(pixels, file)
    # Pillow's TIFF reader has turned the picture already.
    turned = header.format == "TIFF" and not isinstance(image, Bands)
    return pixels if turned else turn_upright(pixels, header.orientation)


def check_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raise what `read_image` would raise, by decoding all of the picture's data and keeping none.

    JPEGs are decoded at an eighth of their size, which reads every byte in about half the time.
    """
    with _opened(path, max_pixels) as opened:
        if isinstance(opened.image, JpegImageFile):
            opened.image.draft(None, (1, 1))
            _decoded(opened, opened.image)
            return
    read_image(path, max_pixels=max_pixels)


def read_label_map(source: Readable, *, max_pixels: int = MAX_PIXELS) -> IntArray:
    """The numbers that a label map stores, [H, W]: uint8, uint16 or int32; `source` is as in `read_image`.

    Palette files give indices and 1-, 2- and 4-bit grey the stored numbers, never brightness. Three equal channels
    count as one, alpha is dropped. An orientation flag is ignored, since programs that paint label maps work in the
    displayed frame. Float files are accepted where all numbers are whole.

    Raises `DataError` as `read_image` does, and for JPEG and other lossy formats, unequal channels, fractions and
    negative numbers.
    """
    return read_stored_map(source, max_pixels=max_pixels).ids


def read_stored_map(source: Readable, *, max_pixels: int = MAX_PIXELS) -> LabelMap:
    """As `read_label_map`, and how the file stores the numbers; raises the same."""
    with _opened(source, max_pixels) as opened:
        image, header, file = opened.image, opened.header, opened.file
        if header.format not in _LABEL_FORMATS:
            raise DataError(
                f"{printable(file)}: expected a label map in a lossless format (PNG, TIFF, BMP, GIF or NumPy), but "
                f"found {header.format}",
                hint="lossy formats change the numbers: export the masks again as PNG",
            )
        _check_frames(image, header, file)
        if isinstance(image, Bands):
            return LabelMap(_one_channel(image.rows().read(image.size[0]), file), _storage(image), False)
        stored = np.asarray(_decoded(opened, image))
    if image.mode in ("1", "L") and header.bits < 8:
        stored = (stored.astype(np.uint8) * (255 if image.mode == "1" else 1)) // (255 // (2**header.bits - 1))
    alpha = stored[..., -1] if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") else None
    varies = alpha is not None and bool((alpha != alpha.flat[0]).any())
    if stored.ndim == 3:
        stored = stored[..., : {"LA": 1, "La": 1, "PA": 1, "CMYK": 4}.get(image.mode, 3)]
    return LabelMap(_one_channel(stored, file), _storage(image), varies)


def read_storage(path: str | Path) -> Stored:
    """How a label map stores what it holds, by its header; raises what `read_header` raises."""
    with _opened(path, MAX_PIXELS) as opened:
        return _storage(opened.image)


def pictures_among(files: Iterable[Path]) -> list[Path]:
    """The files that a picture's ending makes pictures, in their order.

    `.npy` files count where there are no others: beside pictures they are something else, such as features or the
    masks of another tool.
    """
    listed = list(files)
    pictures = [file for file in listed if file.suffix.lower() in SUFFIXES]
    return pictures or [file for file in listed if file.suffix.lower() == ARRAY_SUFFIX]


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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A picture that is not decoded yet, the stream that it is read from, and what messages call it."""

    image: ImageFile | Bands
    header: Header
    stream: IO[bytes]
    file: Path


@contextmanager
def _opened(source: Readable, max_pixels: int) -> Iterator[_Opened]:
    with open_source(source) as (stream, file):
        image, header = open_picture(stream, file, max_pixels)
        with needing(header.nbytes, file):
            yield _Opened(image, header, stream, file)


def open_picture(
    stream: IO[bytes], file: Path, max_pixels: int, max_side: int = MAX_SIDE
) -> tuple[ImageFile | Bands, Header]:
    """The reader of a picture that is not decoded yet, and its header; inside `picture_errors`."""
    kind = kind_of(stream, file)
    stream.seek(0)
    bands = open_npy(stream, file) if kind == "NPY" else open_tiff(stream, file) if kind == "TIFF" else None
    stream.seek(0)
    image = bands or _READERS[kind](stream)
    header = _band_header(image, kind) if isinstance(image, Bands) else _header(image, kind, stream)
    _check_size(header, max_pixels, max_side, file)
    return image, header


def _header(image: ImageFile, kind: str, stream: IO[bytes]) -> Header:
    bits, grey_alpha = 8, False
    if kind == "PNG":
        position = stream.tell()
        stream.seek(24)
        bits, colour_type = stream.read(2)
        grey_alpha = colour_type == 4
        exif = image.info.get("exif") or late_exif(stream)
        stream.seek(position)
        orientation = read_orientation(exif)
    elif isinstance(image, TiffImageFile):
        bits = int(image.tag_v2.get(258, (1,))[0])
        orientation = valid_orientation(image.tag_v2.get(274, 1))
    else:
        bits = {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode in _WORD_MODES else 8)
        orientation = read_orientation(image.info.get("exif"))
    width, height = image.size
    # Pillow's TIFF reader gives the displayed size, the other readers the stored one.
    turned = (width, height) if orientation >= 5 else (height, width)
    shown, stored = ((height, width), turned) if kind == "TIFF" else (turned, (height, width))
    dtype = "float32" if image.mode == "F" else "uint16" if image.mode in ("I", *_WORD_MODES) else "uint8"
    channels = 1 if image.mode in _GREY_MODES or grey_alpha else 3
    remarks = _remarks(image, kind, stream)
    return Header(shown, channels, dtype, bits, kind, orientation, stored, remarks)


def _remarks(image: ImageFile, kind: str, stream: IO[bytes]) -> tuple[Remark, ...]:
    found: list[Remark] = []
    profile = image.info.get("icc_profile") or b""
    if profile and b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile:
        found.append("profile")
    if kind == "JPEG":
        position = stream.tell()
        if has_tail(stream):
            found.append("tail")
        stream.seek(position)
    return tuple(found)


def _band_header(bands: Bands, kind: str) -> Header:
    orientation = valid_orientation(bands.orientation)
    shown = bands.size[::-1] if orientation >= 5 else bands.size
    kept = {"f": "float32", "b": "uint8"}.get(bands.dtype.kind, "uint8" if bands.dtype == np.uint8 else "uint16")
    return Header(shown, bands.channels, kept, 8 * bands.dtype.itemsize, kind, orientation, bands.size)


def _check_size(header: Header, max_pixels: int, max_side: int, file: Path) -> None:
    height, width = header.size
    if min(height, width, header.channels) < 1:
        raise DataError(f"{printable(file)}: the header says {width} x {height} pixels")
    if max(height, width) > max_side or height * width > max_pixels:
        raise DataError(
            f"{printable(file)}: expected sides up to {max_side} and up to {max_pixels:,} pixels, but the header says "
            f"{width} x {height}",
            hint="cut the picture into tiles or make it smaller",
        )
    size = header.nbytes
    if size > _BYTES_PER_PIXEL * max_pixels:
        raise DataError(
            f"{printable(file)}: expected up to {_BYTES_PER_PIXEL * max_pixels:,} bytes of values, but the header says "
            f"{width} x {height} x {header.channels} of {header.bits} bits, which are {size:,}",
            hint="cut the picture into tiles, or leave out channels",
        )


def _check_frames(image: ImageFile | Bands, header: Header, file: Path) -> None:
    if not (image.pages if isinstance(image, Bands) else getattr(image, "is_animated", False)):
        return
    if header.format == "TIFF":
        raise DataError(
            f"{printable(file)}: expected one page, but the TIFF has several", hint="save each page as its own file"
        )
    _log.warning("%s: an animation; only its first frame is used", printable(file))


def _decoded(opened: _Opened, image: ImageFile) -> ImageFile:
    if opened.header.format == "PNG":
        # Pillow skips the checksums of the pixel data while it decodes; then it goes to where they begin.
        opened.stream.seek(0)
        PngImageFile(opened.stream).verify()
    try:
        image.load()
    except OSError as error:
        if opened.header.format != "JPEG" or error.errno is not None:
            raise
        return decode_without_end(opened.stream, opened.file, error)
    return image


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


def as_read(stored: Array, file: Path, top: int = 0) -> Array:
    """Values [H, W, C] of any numeric type as `read_image` gives them; `top` is the first row's place in the picture.

    Booleans become 0 and 255. `DataError` for numbers that 16 bits cannot hold and floats that are not finite.
    """
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is refused
            values = np.ascontiguousarray(stored, np.float32)
        _refuse_non_finite(values, file, top)
        return values
    if stored.dtype.kind == "b":
        return stored * np.uint8(255)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    low, high = (int(stored.min()), int(stored.max())) if stored.size else (0, 0)
    if low < 0 or high > 65_535:
        raise DataError(
            f"{printable(file)}: expected values from 0 to 65535, but found {low} to {high}",
            hint="save the picture with 8 or 16 bits per channel, or as 32-bit float",
        )
    return stored.astype(np.uint16, order="C")


def _refuse_non_finite(pixels: Array, file: Path, top: int) -> None:
    bad = ~np.isfinite(pixels)
    if bad.any():
        row, column, _ = np.argwhere(bad)[0].tolist()
        raise DataError(
            f"{printable(file)}: {int(bad.sum())} values are NaN or infinite, the first at row {top + row}, column "
            f"{column}",
            hint="fill these pixels with a number",
        )


def _storage(image: ImageFile | Bands) -> Stored:
    if isinstance(image, Bands):
        return "numbers" if image.channels == 1 else "colours"
    return "palette" if image.mode in ("P", "PA") else "colours" if image.mode.startswith("RGB") else "numbers"


def _one_channel(stored: Array, file: Path) -> IntArray:
    """The numbers of [H, W] or [H, W, C] as [H, W]; `DataError` where channels differ or numbers are no labels."""
    if stored.ndim == 3:
        differs = (stored[..., 1:] != stored[..., :1]).any(axis=2)
        if differs.any():
            row, column = np.argwhere(differs)[0].tolist()
            raise DataError(
                f"{printable(file)}: expected one number per pixel, but found colours, such as "
                f"{stored[row, column].tolist()} at row {row}, column {column}",
                hint="export the masks as palette or grey PNG with one number per class or object",
            )
        stored = stored[..., 0]
    if stored.dtype.kind == "b":
        stored = stored.astype(np.uint8)
    if stored.dtype.kind == "f":
        whole = np.isfinite(stored) & (stored == np.round(stored)) & (np.abs(stored, dtype=np.float64) < 2**31)
        if not whole.all():
            row, column = np.argwhere(~whole)[0].tolist()
            raise DataError(
                f"{printable(file)}: expected whole numbers, but found {stored[row, column]} at row {row}, "
                f"column {column}",
                hint="save the label map as integers",
            )
        stored = stored.astype(np.int32)
    if stored.dtype.kind == "u" and stored.dtype.itemsize <= 2:
        return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))
    beyond = (stored < 0) | (stored > np.iinfo(np.int32).max)
    if beyond.any():
        row, column = np.argwhere(beyond)[0].tolist()
        raise DataError(
            f"{printable(file)}: expected numbers from 0 to 2147483647, but found {stored[row, column]} at row {row}, "
            f"column {column}",
            hint="store 'ignore' as 255 or 65535",
        )
    return np.ascontiguousarray(stored, np.int32)
