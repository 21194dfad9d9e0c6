"""A large picture that is read by strips, as small as a network usually sees pictures."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array
from everymask.data.feed.preprocess import Preprocess
from everymask.data.feed.resample import averaged, resized
from everymask.data.pictures.strips import Strips


class Shrunk:
    """A picture whose rows come from top to bottom, shrunk for one look at the whole of it.

    It becomes as large as `preprocess` makes pictures, or, where that sets no size, as a window of `side`: so one look
    needs no more memory than a window or a picture of usual size.
    Rows are averaged by whole numbers of pixels as they come, so that little is in memory, and the picture is resized
    at the end. At the right and the bottom it is filled up with its last pixels for that, and cut again.
    """

    def __init__(self, strips: Strips, preprocess: Preprocess, side: int) -> None:
        (height, width), size = strips.size, preprocess.resize.size_of(strips.size)
        if preprocess.resize.rule in ("none", "shrink"):
            share = min(1.0, side / max(height, width))
            size = max(1, round(share * height)), max(1, round(share * width))
        self._size, self._length = size, strips.size
        self._factor = max(1, min(height // size[0], width // size[1]))
        self._rest = np.zeros((0, width, strips.channels), strips.dtype)
        self._parts: list[Array] = []

    def add(self, rows: Array) -> None:
        """The next rows [n, W, C]."""
        rows = np.concatenate([self._rest, rows]) if len(self._rest) else rows
        ready = len(rows) // self._factor * self._factor
        if ready:
            self._parts.append(self._averaged(rows[:ready]))
        self._rest = rows[ready:].copy()

    def picture(self) -> Array:
        """The picture [h, w, C], in the type that it had."""
        if len(self._rest):
            missing = self._factor - len(self._rest)
            self._parts.append(self._averaged(np.concatenate([self._rest, *[self._rest[-1:]] * missing])))
            self._rest = self._rest[:0]
        whole = np.concatenate(self._parts)
        height, width = (
            round(size * part * self._factor / length)
            for size, part, length in zip(self._size, whole.shape[:2], self._length, strict=True)
        )
        return resized(whole, (height, width), "shrink")[: self._size[0], : self._size[1]]

    def _averaged(self, rows: Array) -> Array:
        missing = -rows.shape[1] % self._factor
        return averaged(np.concatenate([rows, *[rows[:, -1:]] * missing], axis=1) if missing else rows, self._factor)
