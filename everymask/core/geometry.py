"""How the pixels of one picture come to lie in another: one affine map for pictures and for every kind of truth.

Frame: x to the right, y down, in pixels, measured from the upper left corner of the picture. Pixel (row i, column j)
covers x from j to j + 1 and y from i to i + 1; its middle is (j + 0.5, i + 0.5). Boxes and polygons are in this frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.errors import DataError

Size = tuple[int, int]
Window = tuple[int, int, int, int]
_NEAR = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A point (x, y) of the source picture lies at `matrix` [2, 3] float64 @ (x, y, 1) in a picture of `size` (H, W).

    What reaches outside the target is cut off; what the source does not cover has no pixels. `DataError` for a map that
    is not finite or cannot be undone, and for a size without pixels.
    """

    matrix: FloatArray
    size: Size

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, np.float64)
        object.__setattr__(self, "matrix", matrix)
        if matrix.shape != (2, 3) or not math.isfinite(matrix.sum()) or self.growth == 0:
            raise DataError(f"a warp needs a finite 2 x 3 matrix that can be undone, but got {matrix.tolist()}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise DataError(f"a warp's size must be (height, width), each at least 1, but got {self.size}")
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    @classmethod
    def identity(cls, size: Size) -> Warp:
        """A picture of `size` (H, W) as it is."""
        return cls(np.eye(2, 3), size)

    @classmethod
    def flip(cls, size: Size, *, horizontal: bool = True, vertical: bool = False) -> Warp:
        """A picture of `size` (H, W) mirrored left-right, top-bottom or both."""
        across, down = (-1 if horizontal else 1), (-1 if vertical else 1)
        return cls(np.array(((across, 0, size[1] * horizontal), (0, down, size[0] * vertical))), size)

    @classmethod
    def turn(cls, size: Size, quarters: int) -> Warp:
        """A picture of `size` (H, W) turned anticlockwise by `quarters`, as `numpy.rot90` does."""
        height, width = size
        match quarters % 4:
            case 0:
                return cls.identity(size)
            case 1:
                return cls(np.array(((0, 1, 0), (-1, 0, width))), (width, height))
            case 2:
                return cls.flip(size, vertical=True)
            case _:
                return cls(np.array(((0, -1, height), (1, 0, 0))), (width, height))

    @classmethod
    def crop(cls, window: Window) -> Warp:
        """What lies in `window` (x1, y1, x2, y2), which may reach outside the picture."""
        x1, y1, x2, y2 = window
        return cls(np.array(((1, 0, -x1), (0, 1, -y1))), (y2 - y1, x2 - x1))

    @classmethod
    def scale(cls, size: Size, to: Size) -> Warp:
        """A picture of `size` (H, W) resized to `to` (h, w)."""
        return cls(np.array(((to[1] / size[1], 0, 0), (0, to[0] / size[0], 0))), to)

    @classmethod
    def rotate(cls, size: Size, degrees: float) -> Warp:
        """A picture of `size` (H, W) turned anticlockwise about its middle, in a frame of the same size."""
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        if degrees % 90 == 0:
            cos, sin = round(cos), round(sin)
        linear = np.array(((cos, sin), (-sin, cos)))
        middle = np.array((size[1] / 2, size[0] / 2))
        return cls(np.hstack((linear, (middle - linear @ middle)[:, None])), size)

    def then(self, after: Warp) -> Warp:
        """The warp that first does this one, `after` afterwards."""
        matrix = after.matrix[:, :2] @ self.matrix
        matrix[:, 2] += after.matrix[:, 2]
        return Warp(matrix, after.size)

    def inverse(self, size: Size) -> Warp:
        """The way back to the source of `size` (H, W)."""
        linear = np.linalg.inv(self.matrix[:, :2])
        if self.is_exact:
            linear = np.rint(linear)
        return Warp(np.hstack((linear, -linear @ self.matrix[:, 2:])), size)

    @property
    def is_exact(self) -> bool:
        """Whether every pixel comes from one pixel: quarter turns, mirroring and crops along whole pixels."""
        whole = bool((self.matrix == np.rint(self.matrix)).all())
        return self.is_upright and whole and abs(self.growth) == 1

    @property
    def is_upright(self) -> bool:
        """Whether rows and columns stay rows and columns, perhaps of each other."""
        (a, b), (c, d) = self.matrix[:, :2].tolist()
        return bool((b == 0 and c == 0) or (a == 0 and d == 0))

    @property
    def growth(self) -> float:
        """The factor by which areas grow; below 0 where the picture is mirrored."""
        (a, b), (c, d) = self.matrix[:, :2].tolist()
        return float(a * d - b * c)

    def points(self, points: FloatArray) -> FloatArray:
        """Where points [N, 2] (x, y) of the source lie in the target, float64; not clipped."""
        moved: FloatArray = np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return moved

    def boxes(self, boxes: Array) -> FloatArray:
        """The extent in the target of boxes [N, 4] xyxy of the source, float64; not clipped."""
        corners = np.asarray(boxes, np.float64)[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 2)
        moved = self.points(corners).reshape(-1, 4, 2)
        return np.concatenate((moved.min(axis=1), moved.max(axis=1)), axis=1)

    def cut(self, size: Size) -> Cut | None:
        """The warp of a picture of `size` (H, W) as a cut along whole pixels, a resizing and an exact rest.

        None where it is none: where the picture is rotated, where a border of the target lies within a pixel, and
        where nothing of the picture is seen.
        """
        if not self.is_upright:
            return None
        swapped = self.matrix[0, 0] == 0
        matrix = self.matrix.tolist()
        # For each axis of the source (x, y): from where to where it is seen, and how long that becomes.
        ranges, linear, shift = [], np.zeros((2, 2)), np.zeros(2)
        for source, length in enumerate((size[1], size[0])):
            target = 1 - source if swapped else source
            factor, offset = matrix[target][source], matrix[target][2]
            ends = sorted(((0 - offset) / factor, (self.size[1 - target] - offset) / factor))
            low, high = max(0.0, ends[0]), min(float(length), ends[1])
            first, last = factor * low + offset, factor * high + offset
            edges = (low, high, first, last)
            whole = [round(edge) for edge in edges]
            if max(abs(edge - near) for edge, near in zip(edges, whole, strict=True)) > _NEAR:
                return None
            ranges.append((whole[0], whole[1], abs(whole[3] - whole[2])))
            linear[target, source], shift[target] = math.copysign(1, factor), whole[2]
        (x1, x2, width), (y1, y2, height) = ranges
        if x2 <= x1 or y2 <= y1 or width < 1 or height < 1:
            return None
        return Cut((x1, y1, x2, y2), (height, width), Warp(np.hstack((linear, shift[:, None])), self.size))


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A warp in three steps: `window` (xyxy, inside the source) is cut out, resized to `size` (h, w) and moved.

    `rest` moves what was resized to the target without interpolation.
    """

    window: Window
    size: Size
    rest: Warp


def moved(array: Array, warp: Warp, fill: Array | float = 0) -> Array:
    """An array [H, W, ...] after an exact warp; `fill`, a value or [C], is put where the source is not.

    A view where the source covers the target.
    """
    found = warp.cut((array.shape[0], array.shape[1]))
    if found is None:
        return _filled(warp.size, array, fill)
    x1, y1, x2, y2 = found.window
    return framed(*turned(array[y1:y2, x1:x2], found.rest), warp.size, fill)


def turned(array: Array, warp: Warp) -> tuple[Array, tuple[int, int]]:
    """An array [H, W, ...] turned by an exact warp whose target holds it: a view, and its corner (y, x) there."""
    (a, b, shift), (c, d, drop) = warp.matrix.astype(int).tolist()
    height, width = array.shape[:2]
    array = array.swapaxes(0, 1) if a == 0 else array
    corner = (drop + min(c * width, 0) + min(d * height, 0), shift + min(a * width, 0) + min(b * height, 0))
    return array[:: c + d, :: a + b], corner


def framed(array: Array, corner: tuple[int, int], size: Size, fill: Array | float = 0) -> Array:
    """An array [h, w, ...] with its upper left at `corner` (y, x) of one of `size` (H, W); `fill` around it."""
    if array.shape[:2] == size:
        return array
    top, left = corner
    out = _filled(size, array, fill)
    out[top : top + array.shape[0], left : left + array.shape[1]] = array
    return out


def nearest(array: Array, warp: Warp, fill: float) -> Array:
    """Each pixel of an array [H, W] after a warp is the one of the source in which its middle lies, or `fill`.

    A middle on a border belongs to the pixel to its right or below, as half-pixel centres have it in OpenCV's
    INTER_NEAREST_EXACT. Of [D, H, W] each plane is warped.
    """
    if array.ndim == 3:
        return np.stack([nearest(plane, warp, fill) for plane in array])
    if warp.is_exact:
        return moved(array, warp, fill)
    back = warp.inverse((array.shape[0], array.shape[1])).matrix
    y, x = (np.arange(length) + 0.5 for length in warp.size)
    if warp.is_upright:
        swapped = back[0, 0] == 0
        across, down = (y, x) if swapped else (x, y)
        columns = _inside(back[0, 1 if swapped else 0] * across + back[0, 2], array.shape[1])
        rows = _inside(back[1, 0 if swapped else 1] * down + back[1, 2], array.shape[0])
        found: Array = np.take(np.take(array, rows, axis=0), columns, axis=1)
        found[rows < 0], found[:, columns < 0] = fill, fill
        return np.ascontiguousarray(found.T) if swapped else found
    columns = _inside(back[0, 0] * x + back[0, 1] * y[:, None] + back[0, 2], array.shape[1])
    rows = _inside(back[1, 0] * x + back[1, 1] * y[:, None] + back[1, 2], array.shape[0])
    found = array[rows, columns]
    found[(rows < 0) | (columns < 0)] = fill
    return found


def _inside(positions: FloatArray, length: int) -> IntArray:
    """The pixel in which each position lies; -1 outside."""
    pixels = np.floor(positions + _NEAR).astype(np.int64)
    return np.where((pixels >= 0) & (pixels < length), pixels, -1)


def _filled(size: Size, like: Array, fill: Array | float) -> Array:
    out = np.zeros((*size, *like.shape[2:]), like.dtype)
    if np.any(fill):
        # Row by row: numpy spreads three bytes a hundred times more slowly.
        row = np.empty(out.shape[1:], like.dtype)
        row[:] = fill
        out.reshape(size[0], -1)[:] = row.reshape(-1)
    return out


def turned_corners(box: tuple[float, float, float, float], degrees: float) -> FloatArray:
    """The corners [4, 2] of an xyxy `box` turned about its middle by `degrees`, clockwise as the picture is seen."""
    x1, y1, x2, y2 = box
    middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) - middle
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.asarray(corners @ np.array([[cosine, sine], [-sine, cosine]]) + middle)
