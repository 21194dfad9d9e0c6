"""Whatever a picture comes as, it becomes a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypeGuard

import numpy as np

from everymask.core.arrays import Array
from everymask.core.sample import Sample
from everymask.data.pictures.opening import is_open_file
from everymask.data.pictures.read import read_image
from everymask.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Source: TypeAlias = "str | Path | bytes | bytearray | memoryview | IO[bytes] | Array | Image | Sample | TwoDates"


@dataclass(frozen=True, slots=True, eq=False)
class TwoDates:
    """One place at two dates, each in any form that a picture can have; it is called as the later one."""

    before: Source
    after: Source


def as_sample(source: Source, name: str = "picture") -> Sample:
    """The picture as a sample, called `name` where it comes from no file; `DataError` where it is none."""
    match source:
        case Sample():
            return source
        case TwoDates(before, after):
            return replace(as_sample(after, name), before=as_sample(before, name).image)
        case str() | Path():
            return Sample(read_image(source), id=Path(source).stem, file=str(source))
        case np.ndarray():
            return Sample(_as_picture(source), id=name)
        case bytes() | bytearray() | memoryview():
            return Sample(read_image(source), id=name)
        case _ if _is_pillow(source):
            return _from_pillow(source, name)
        case _ if is_open_file(source):
            file = source.name if isinstance(getattr(source, "name", None), str) else ""
            return Sample(read_image(source), id=Path(file).stem or name, file=file)
        case _:
            raise DataError(
                "a picture must be a path, bytes, an open file, a PIL image or an array, but got "
                f"{type(source).__name__}"
            )


def _is_pillow(source: object) -> TypeGuard[Image]:
    return hasattr(source, "getbands")


def _as_picture(array: Array) -> Array:
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(f"a picture must be [H, W] or [H, W, C] and not empty, but got an array {list(array.shape)}")
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise DataError(
            f"a picture must be uint8, uint16 or float32, but got {array.dtype}",
            hint="convert it with array.astype(...)",
        )
    return array[..., None] if array.ndim == 2 else array


def _from_pillow(image: Image, name: str) -> Sample:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode == "I" or upright.mode.startswith("I;16"):
        pixels = np.asarray(upright).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise DataError(
                f"a whole-number picture must lie in 0 to 65535, but reaches {pixels.min()}, {pixels.max()}"
            )
        pixels = pixels.astype(np.uint16)
    elif upright.mode in ("L", "RGB", "F"):
        pixels = np.asarray(upright)
    else:
        pixels = np.asarray(upright.convert("L" if upright.mode in ("1", "LA") else "RGB"))
    file = str(getattr(image, "filename", ""))
    return Sample(_as_picture(pixels), id=Path(file).stem or name, file=file)
