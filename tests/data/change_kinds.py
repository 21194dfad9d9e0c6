"""Small pictures of one place at two dates, of which it is known what became of what."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.arrays import Array
from everymask.core.randomness import rng
from everymask.data.formats.change.both_labels import SECOND
from everymask.data.pictures.read import write_image

SIZE = (48, 64)


def kinds(number: int) -> tuple[Array, Array]:
    """What was and what is there, class ids of SECOND: water becomes a building, a tree ground."""
    was, now = np.zeros((2, *SIZE), np.uint8)
    row = 4 + number % 10
    was[row : row + 12, 8:28], now[row : row + 12, 8:28] = 1, 5
    was[row + 16 : row + 26, 30:50], now[row + 16 : row + 26, 30:50] = 4, 2
    return was, now


def shown(ids: Array, number: int) -> Array:
    """The picture of it: each class in its colour, on one ground."""
    ground = rng(3, number, "ground").integers(60, 110, (*SIZE, 3), np.uint8)
    return np.where(ids[..., None] > 0, coloured(ids), ground).astype(np.uint8)


def coloured(ids: Array) -> Array:
    return np.array(SECOND.colours, np.uint8)[ids]


def write_kinds(folder: Path, count: int = 3, *, numbers: bool = False) -> None:
    """Places as SECOND has them, with labels in colours, or as numbers of the classes."""
    for number in range(count):
        was, now = kinds(number)
        labels = (was, now) if numbers else (coloured(was), coloured(now))
        pictures = (shown(was, number), shown(now, number), *labels)
        for name, picture in zip(("im1", "im2", "label1", "label2"), pictures, strict=True):
            write_image(folder / name / f"k{number}.png", picture)
