"""Planes of floats at another size, bilinear with half-pixel centres, as PyTorch's `interpolate` has them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import cv2
import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.geometry import Size


def resized(planes: FloatArray, size: Size) -> FloatArray:
    """Planes [..., h, w] at `size` (H, W), [..., H, W] float32; the same planes where the size is theirs."""
    if planes.shape[-2:] == size:
        return planes
    flat = planes.reshape(-1, *planes.shape[-2:])
    made = np.empty((len(flat), *size), np.float32)
    resizing = Resizing((flat.shape[1], flat.shape[2]), size)
    for plane, out in zip(flat, made, strict=True):
        out[:] = resizing.rows(plane, 0, size[0])
    return made.reshape(*planes.shape[:-2], *size)


class Resizing:
    """How planes of size `before` (h, w) become planes of size `after`, some rows at a time."""

    def __init__(self, before: Size, after: Size) -> None:
        self._before, self._after = before, after
        self._down = _taps(before[0], after[0])
        self._across = _taps(before[1], after[1])
        self._read = slice(None)
        self._widens = before[1] != after[1]

    def columns(self, first: int, last: int) -> Resizing:
        """The same for the new columns `first` to `last` alone."""
        low, high, share = self._across
        low, high, share = low[first:last], high[first:last], share[first:last]
        part = copy.copy(self)
        part._read, part._widens = slice(int(low[0]), int(high[-1]) + 1), True
        part._across = low - low[0], high - low[0], share
        return part

    def strips(self, count: int) -> Iterator[tuple[int, int]]:
        """First and last row (exclusive) of strips of up to `count` new rows."""
        return ((first, min(first + count, self._after[0])) for first in range(0, self._after[0], count))

    def sources(self, first: int, last: int) -> tuple[int, int]:
        """First and last old row (exclusive) that the new rows `first` to `last` read."""
        if self._before[0] == self._after[0]:
            return first, last
        low, high, _ = self._down
        return int(low[first]), int(high[last - 1]) + 1

    def rows(self, plane: FloatArray, first: int, last: int, top: int = 0) -> FloatArray:
        """The new rows `first` to `last` [n, W] of a plane whose old rows from `top` on are `plane` [m, w].

        It may be `plane` itself.
        """
        start, stop = self.sources(first, last)
        read = np.ascontiguousarray(plane[start - top : stop - top, self._read], np.float32)
        if self._widens:
            # Turned, so that what is gathered are whole rows.
            read = _transposed(_blended(_transposed(read), self._across))
        if self._before[0] == self._after[0]:
            return read
        low, high, share = self._down
        return _blended(read, (low[first:last] - start, high[first:last] - start, share[first:last]))


def _taps(before: int, after: int) -> tuple[IntArray, IntArray, FloatArray]:
    """For each new pixel its two old neighbours and the share of the second.

    Positions are rounded to float32 after each operation, as PyTorch's kernel for several threads does.
    """
    half = np.float32(0.5)
    ratio = np.float32(before) / np.float32(after)
    position = np.maximum(ratio * (np.arange(after, dtype=np.float32) + half) - half, np.float32(0))
    low = np.minimum(position.astype(np.int64), before - 1)
    return low, np.minimum(low + 1, before - 1), (position - low).astype(np.float32)


def _blended(rows: FloatArray, at: tuple[IntArray, IntArray, FloatArray]) -> FloatArray:
    low, high, share = at
    first: FloatArray = rows[low]
    made: FloatArray = rows[high]
    made -= first
    made *= share[:, None]
    made += first
    return made


def in_planes(logits: FloatArray) -> FloatArray:
    """Logits [K, h, w] with each plane's rows in one piece; networks often give the K values of a pixel side by side.

    They may share the memory of `logits`.
    """
    count, height, width = logits.shape
    if count == 1 or logits.strides[0] != logits.itemsize:
        return logits
    pixels = np.ascontiguousarray(logits.transpose(1, 2, 0), np.float32)
    return _transposed(pixels.reshape(-1, count)).reshape(count, height, width)


def _transposed(matrix: FloatArray) -> FloatArray:
    """A copy of [m, n] float32 as [n, m]; faster than numpy's."""
    copy: FloatArray = np.asarray(cv2.transpose(matrix), np.float32)
    return copy.reshape(matrix.shape[1], matrix.shape[0])
