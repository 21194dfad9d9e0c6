"""Maps of a picture's pixels as plain JSON values, and back."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import DataError


def map_to_json(ids: IntArray) -> dict[str, str]:
    """A label map [H, W] as a grey PNG of 8 or, for numbers above 255, 16 bits, in base64.

    `DataError` for another shape, and for numbers that are not in 0 to 65,535.
    """
    from PIL import Image

    low, high = int(ids.min()), int(ids.max())
    if ids.ndim != 2 or low < 0 or high > np.iinfo(np.uint16).max:
        raise DataError(
            f"a label map [H, W] of 0 to 65535 fits into JSON, but this one is {ids.shape}, {low} to {high}"
        )
    buffer = io.BytesIO()
    Image.fromarray(ids.astype(np.uint8 if high < 256 else np.uint16)).save(buffer, "PNG")
    return {"dtype": str(ids.dtype), "png": base64.b64encode(buffer.getvalue()).decode("ascii")}


def map_from_json(data: dict[str, str], size: tuple[int, int]) -> IntArray:
    """The map of a picture of `size` (H, W) that `map_to_json` wrote.

    `DataError` for a PNG that is damaged, of another size (which is asked before anything is decoded), or of colours;
    `KeyError` and `ValueError` where it is no such form.
    """
    from PIL import Image

    stored = base64.b64decode(data["png"], validate=True)
    try:
        with Image.open(io.BytesIO(stored), formats=("PNG",)) as picture:
            if picture.size != size[::-1]:
                found = list(picture.size[::-1])
                raise DataError(f"the label map is of a picture of {found}, but this one has {list(size)}")
            if len(picture.getbands()) != 1:
                raise DataError(f"a label map is one plane of numbers, but the PNG is {picture.mode}")
            ids = np.asarray(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"the label map cannot be read as a PNG: {error}") from error
    return ids.astype(np.dtype(data["dtype"]))


def floats_to_json(values: FloatArray) -> dict[str, str]:
    """Values [H, W] as little-endian float32, packed by zlib, in base64."""
    packed = zlib.compress(np.ascontiguousarray(values, "<f4").tobytes(), 1)
    return {"dtype": "<f4", "zlib": base64.b64encode(packed).decode("ascii")}


def floats_from_json(data: dict[str, str], size: tuple[int, int]) -> FloatArray:
    """The values [H, W] that `floats_to_json` wrote; `KeyError`, `ValueError` or `zlib.error` where they are none."""
    stored = np.frombuffer(zlib.decompress(base64.b64decode(data["zlib"], validate=True)), "<f4")
    return stored.reshape(size).astype(np.float32)
