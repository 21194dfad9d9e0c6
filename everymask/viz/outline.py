"""The edges of masks as smooth thin lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray, FloatArray, IntArray

_SHIFT = 4  # bits of a coordinate below the pixel


@dataclass(frozen=True, slots=True)
class Rings:
    """Closed rings in one array: `points` [P, 2] xy in pixels of the picture, float32, each up to one of the `ends`.

    A ragged mask has a dozen of them, so what happens to every point happens to all at once.
    """

    points: FloatArray
    ends: IntArray


def rings_of(crop: BoolArray, corner: tuple[int, int], smooth: int) -> Rings:
    """The border pixels of a mask and of its holes.

    `crop` [h, w] begins at `corner` (x, y). Every point is averaged with the `smooth` ones before and behind it, which
    takes the steps out of slanted edges.
    """
    import cv2

    found, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner)
    rings = [ring[:, 0] if len(ring) < 4 * (2 * smooth + 1) else _averaged(ring[:, 0], smooth) for ring in found]
    points = np.concatenate(rings, dtype=np.float32) if rings else np.zeros((0, 2), np.float32)
    return Rings(points, np.cumsum([len(ring) for ring in rings], dtype=np.int64))


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

    if not len(rings.points):
        return
    left, top = np.maximum(rings.points.min(axis=0).astype(int) - width, 0).tolist()
    right, bottom = np.minimum(rings.points.max(axis=0).astype(int) + width + 1, canvas.shape[1::-1]).tolist()
    line = np.zeros((bottom - top, right - left), np.uint8)
    points = ((rings.points - (left, top)) * 2**_SHIFT).round().astype(np.int32)
    begins = np.concatenate([[0], rings.ends[:-1]])
    each = [points[begin:end] for begin, end in zip(begins, rings.ends, strict=True)]
    cv2.polylines(line, each, True, 255, width, cv2.LINE_AA, _SHIFT)
    if outside is not None:
        crop, (x, y) = outside
        line[y - top : y - top + len(crop), x - left : x - left + crop.shape[1]][crop] = 0
    down, across = np.nonzero(line)
    share = line[down, across, None] * (opacity / 255)
    down, across = down + top, across + left
    canvas[down, across] = (canvas[down, across] * (1 - share) + colour * share).round().astype(np.uint8)


def _averaged(ring: Array, reach: int) -> FloatArray:
    count = 2 * reach + 1
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), ring[-reach:], ring, ring[:reach]]), axis=0)
    mean: FloatArray = ((sums[count:] - sums[:-count]) / count).astype(np.float32)
    return mean
