"""Small pictures of one place at two dates, on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.arrays import Array
from everymask.core.randomness import rng
from everymask.data.pictures.read import write_image

SIZE = (48, 64)


def place(number: int, size: tuple[int, int] = SIZE) -> tuple[Array, Array, Array]:
    """A textured ground before and after a bright square came there, and where it is (0 and 1)."""
    draw = rng(7, number, "place")
    before = draw.integers(60, 120, (*size, 3), np.uint8)
    there = np.zeros(size, np.uint8)
    there[8 + number % 20 : 20 + number % 20, 10:30] = 1
    after = np.where(there[..., None] == 1, 230, before).astype(np.uint8)
    return before, after, there


def write_places(
    folder: Path,
    names: tuple[str, str, str] = ("A", "B", "label"),
    count: int = 3,
    *,
    first: int = 0,
    ending: str = ".png",
    stems: tuple[str, ...] = (),
) -> None:
    """`count` places from number `first` on, in folders of two dates and of labels of 0 and 255."""
    for row, number in enumerate(range(first, first + count)):
        before, after, there = place(number)
        stem = stems[row] if stems else f"p{number}"
        for name, picture in zip(names, (before, after, 255 * there), strict=True):
            write_image(folder / name / f"{stem}{ending if name == names[2] else '.png'}", picture)
