"""Label maps as pictures that show colours and store numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.arrays import ByteArray, IntArray
from everymask.core.files import whole_file
from everymask.core.labels import Labels
from everymask.errors import DataError, printable

_VOID = (224, 224, 192)


def write_palette_png(path: str | Path, ids: IntArray, labels: Labels) -> None:
    """Write a label map [H, W] as an 8-bit palette PNG whose indices are the class ids, whole or not at all.

    See `palette_of` for the colours. `DataError` for ids that 8 bits cannot hold.
    """
    if ids.ndim != 2 or not ids.size or ids.min() < 0 or ids.max() > 255:
        raise DataError(
            f"{printable(path)}: a palette PNG holds ids 0 to 255 as [H, W], but these are {list(ids.shape)}"
            + (f" and reach from {ids.min()} to {ids.max()}" if ids.size else "")
        )
    image = Image.fromarray(np.ascontiguousarray(ids.astype(np.uint8)))
    image.putpalette(palette_of(labels).tobytes())
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def palette_of(labels: Labels) -> ByteArray:
    """The palette [256, 3]: classes in their colours, `labels.ignore` in the light grey of Pascal VOC, others black."""
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(labels.colours, np.uint8).reshape(-1, 3)[:256]
    palette[: len(colours)] = colours
    if len(colours) <= labels.ignore < 256:
        palette[labels.ignore] = _VOID
    return palette
