"""Large pictures as they are drawn: every n-th row and column of them."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array

_DRAWN_SIDE = 4096


def drawn_step(size: tuple[int, int]) -> int:
    """The n with which no side of a picture of `size` (H, W) exceeds 4,096 drawn pixels."""
    return -(-max(size) // _DRAWN_SIDE)


class Thinned:
    """Every `step`-th row and column of what comes as strips of rows: a picture of `size` (H, W), and maps of it.

    `planes` has them in the order in which `add` is given theirs.
    """

    def __init__(self, size: tuple[int, int], step: int) -> None:
        self._step = step
        self._size = -(-size[0] // step), -(-size[1] // step)
        self._seen = self._filled = 0
        self.planes: list[Array] = []

    def add(self, *strips: Array) -> None:
        """The next rows of each, [n, W] or [n, W, C]."""
        kept = slice(-self._seen % self._step, None, self._step), slice(None, None, self._step)
        self._seen += len(strips[0])
        thin = [strip[kept] for strip in strips]
        if len(thin[0]) == self._size[0]:
            self.planes = thin
            return
        if not self._filled:
            self.planes = [np.empty((*self._size, *strip.shape[2:]), strip.dtype) for strip in thin]
        rows = slice(self._filled, self._filled + len(thin[0]))
        for plane, strip in zip(self.planes, thin, strict=True):
            plane[rows] = strip
        self._filled = rows.stop
