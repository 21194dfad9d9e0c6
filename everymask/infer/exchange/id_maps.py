"""Pillow's pictures of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.segmentation import SemanticMap
from everymask.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_WHOLE = ("1", "L", "P", "I;16", "I")
_BYTE, _WORD = 1 << 8, 1 << 16


def to_pil(ids: IntArray) -> Image:
    """The numbers [H, W] as a picture of mode L, or I;16 where one is above 255; `DataError` above 65,535."""
    from PIL import Image

    most = int(ids.max(initial=0))
    if most >= _WORD:
        raise DataError(f"a picture of numbers holds 0 to 65,535, but the largest is {most:,}")
    return Image.fromarray(ids.astype(np.uint8 if most < _BYTE else np.uint16))


def from_pil(picture: Image, size: Size, labels: Labels) -> SemanticMap:
    """A picture of class ids (modes 1, L, P, I;16, I) as a label map; `DataError` for another size or mode, and for a
    number that is neither a class nor `labels.ignore`.
    """
    if picture.mode not in _WHOLE or picture.size[::-1] != size:
        raise DataError(
            f"a label map must be a picture of class ids (mode {', '.join(_WHOLE)}), {size[1]} x {size[0]} pixels, but "
            f"this one is of mode {picture.mode}, {picture.size[0]} x {picture.size[1]}"
        )
    ids = np.asarray(picture).astype(np.int64)
    unknown = sorted({*np.unique(ids).tolist()} - {*range(len(labels)), labels.ignore})
    if unknown:
        raise DataError(
            f"a label map holds the class ids 0 to {len(labels) - 1} and {labels.ignore} for none, but got {unknown[0]}"
        )
    return SemanticMap(ids.astype(np.uint8 if labels.ignore < _BYTE else np.uint16), ignore=labels.ignore)
