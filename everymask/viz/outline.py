"""The edges of masks as smooth thin lines."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from everymask.core.arrays import BoolArray, ByteArray, FloatArray

Rings: TypeAlias = list[FloatArray]

_SHIFT = 4  # bits of a coordinate below the pixel


def rings_of(crop: BoolArray, corner: tuple[int, int], smooth: int) -> Rings:
    """The border pixels of a mask and of its holes as closed rings [K, 2] xy in pixels of the picture, float32.

    `crop` [h, w] begins at `corner` (x, y). Every point is averaged with the `smooth` ones before and behind it, which
    takes the steps out of slanted edges.
    """
    import cv2

    found, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner)
    return [_averaged(np.asarray(ring, np.float32).reshape(-1, 2), smooth) for ring in found]


def draw_rings(
    canvas: ByteArray,
    rings: Rings,
    colour: ByteArray,
    width: int,
    opacity: float,
    *,
    outside: tuple[BoolArray, tuple[int, int]] | None = None,
) -> None:
    """Draw rings on a picture [H, W, 3] as antialiased lines of `width` pixels; only their pixels are calculated.

    With `outside` (a mask's crop and its corner) the mask's own pixels stay as they are.
    """
    import cv2

    if not rings:
        return
    corners = np.array([[ring.min(axis=0), ring.max(axis=0)] for ring in rings])
    left, top = np.maximum(corners[:, 0].min(axis=0).astype(int) - width, 0).tolist()
    right, bottom = np.minimum(corners[:, 1].max(axis=0).astype(int) + width + 1, canvas.shape[1::-1]).tolist()
    line = np.zeros((bottom - top, right - left), np.uint8)
    points = [((ring - (left, top)) * 2**_SHIFT).round().astype(np.int32) for ring in rings]
    cv2.polylines(line, points, True, 255, width, cv2.LINE_AA, _SHIFT)
    if outside is not None:
        crop, (x, y) = outside
        line[y - top : y - top + len(crop), x - left : x - left + crop.shape[1]][crop] = 0
    down, across = np.nonzero(line)
    share = line[down, across, None] * (opacity / 255)
    down, across = down + top, across + left
    canvas[down, across] = (canvas[down, across] * (1 - share) + colour * share).round().astype(np.uint8)


def _averaged(ring: FloatArray, reach: int) -> FloatArray:
    count = 2 * reach + 1
    if len(ring) < 4 * count:
        return ring
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), ring[-reach:], ring, ring[:reach]]), axis=0)
    mean: FloatArray = ((sums[count:] - sums[:-count]) / count).astype(np.float32)
    return mean
