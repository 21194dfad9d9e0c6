"""The edges of masks as thin lines: all of a picture's are gathered first, then laid on it at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray

_SEAM_OPACITY = 0.45
_ROWS = 256


def _stroke(beside: Sequence[float], on: Sequence[float]) -> ByteArray:
    """A lookup table for `_stroked`: how much a stroke covers a pixel beside what is stroked, and one on it, by how
    many of the 3 x 3 pixels around it are on it.
    """
    table = np.zeros(256)
    table[:10], table[16:26] = beside, on
    return (255 * table).round().astype(np.uint8)


_BESIDE = (0, 0, 0, 0.2, 0.5, 0.8, 1, 1, 1, 1)
_ALONG_EDGE = _stroke(_BESIDE, (0, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0))
_WHOLE = _stroke(_BESIDE, (0, 0.4, 0.4, 0.4, 0.7, 1, 1, 1, 1, 1))


class Outlines:
    """The outlines of a picture's masks: lines of about `width` pixels, each with a dark seam, which keeps it apart
    from a ground of its own colour.

    A line runs along the pixels at the edge of a mask and of its holes, antialiased; of masks that were enlarged by
    `smooth` it rounds the steps. A seam leaves its own mask's pixels as they are. Where lines meet, a pixel is that
    one's which covers it most, of equals the last one's. Memory: three bytes per pixel of the picture for up to 255
    masks, four for more.
    """

    def __init__(self, size: tuple[int, int], count: int, *, width: int, smooth: int) -> None:
        """For `count` masks of a picture of `size` (H, W)."""
        self._smooth = smooth
        # By how many pixels the line reaches beyond those at the edge, and its seam beyond it.
        self._line, self._seam = (0, 2) if width == 1 else ((width + 1) // 2, 1)
        self._shares, self._seams = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        self._rows = np.zeros(size, np.min_scalar_type(count))

    def add(self, row: int, crop: BoolArray, corner: tuple[int, int]) -> None:
        """The outline of mask `row`, of which `crop` [h, w] begins at `corner` (x, y)."""
        import cv2

        reach = self._line + self._seam + 1
        mask = cv2.copyMakeBorder(crop.view(np.uint8), *(reach,) * 4, cv2.BORDER_CONSTANT)
        line = self._drawn(np.asarray(mask, np.uint8))
        seam = cv2.subtract(cv2.dilate(line, _disc(self._seam)), mask * np.uint8(255))
        part, place = _overlap(line.shape, corner[1] - reach, corner[0] - reach, self._shares.shape)
        shares, seams, line = self._shares[place], self._seams[place], line[part]
        np.copyto(self._rows[place], row, where=line >= shares)
        cv2.max(shares, line, shares)
        cv2.max(seams, seam[part], seams)

    def lay_seams(self, canvas: ByteArray) -> None:
        """Darken a picture [H, W, 3] where seams are."""
        import cv2

        left = (255 - np.arange(256) * _SEAM_OPACITY).round().astype(np.uint8)
        for top in range(0, len(canvas), _ROWS):
            strip = canvas[top : top + _ROWS]
            cv2.multiply(strip, _threefold(cv2.LUT(self._seams[top : top + _ROWS], left)), strip, 1 / 255)

    def lay_lines(self, canvas: ByteArray, colours: ByteArray) -> None:
        """Draw the lines on a picture [H, W, 3], each in its mask's one of `colours` [N, 3]."""
        import cv2

        for top in range(0, len(canvas), _ROWS):
            strip, shares = canvas[top : top + _ROWS], _threefold(self._shares[top : top + _ROWS])
            if shares.any():
                paint = colours.take(self._rows[top : top + _ROWS], axis=0)
                cv2.multiply(strip, cv2.bitwise_not(shares), strip, 1 / 255)
                cv2.add(strip, cv2.multiply(paint, shares, paint, 1 / 255), strip)

    def _drawn(self, mask: ByteArray) -> ByteArray:
        """How much the line along the edge of a mask (0 or 1) covers each pixel, 0-255."""
        import cv2

        if self._smooth > 1:
            side = self._smooth | 1
            share = cv2.blur(mask * np.uint8(255), (side, side), borderType=cv2.BORDER_CONSTANT)
            rounded = np.asarray(cv2.threshold(share, 127, 1, cv2.THRESH_BINARY)[1], np.uint8)
            mask = rounded if rounded.any() else mask
        if not self._line:
            return _stroked(mask, _ALONG_EDGE)
        edge = cv2.subtract(mask, cv2.erode(mask, _disc(1)))
        return _stroked(np.asarray(cv2.dilate(edge, _disc(self._line)), np.uint8), _WHOLE)


def _stroked(shape: ByteArray, stroke: ByteArray) -> ByteArray:
    """How much one of the strokes covers each pixel, 0-255, of a shape (0 or 1)."""
    import cv2

    around = cv2.boxFilter(shape, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.LUT(cv2.addWeighted(around, 1, shape, 16, 0), stroke), np.uint8)


def _threefold(plane: Array) -> ByteArray:
    """A plane [H, W] in three channels [H, W, 3]."""
    import cv2

    return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.uint8)


@lru_cache(maxsize=64)
def _disc(reach: int) -> ByteArray:
    """The pixels around a middle one whose own middles lie in a disc; it reaches `reach` beyond the middle pixel."""
    away = np.arange(-reach, reach + 1)
    disc: ByteArray = (away[:, None] ** 2 + away**2 <= reach**2 + reach / 2).astype(np.uint8)
    return disc


def _overlap(
    size: tuple[int, ...], top: int, left: int, whole: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Of a piece of `size` (h, w) whose first pixel lies at (`top`, `left`) of a picture of `whole` (H, W): the part of
    it that lies inside of the picture, and where that lies there.
    """
    y1, x1, y2, x2 = max(top, 0), max(left, 0), min(top + size[0], whole[0]), min(left + size[1], whole[1])
    return (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)), (slice(y1, y2), slice(x1, x2))
