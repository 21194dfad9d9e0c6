"""Changes to a training picture under which its label map moves along.

Pictures are [H, W, C] of any channel count, label maps [H, W] uint8 or uint16. Pictures are interpolated, label maps
take the nearest pixel, and what lies outside a picture has no truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.data.feed.augment import Augment, Size, Window, jitter_window
from everymask.data.feed.preprocess import Placement

_ATTEMPTS = 10
_LOOKED_AT = 1 << 14
_GRID = 3


def semantic_augment() -> Augment:
    """The variation that most results on label maps were published with: scale 0.5-2, mirroring, colours.

    Source: Chen et al. 2017, "Rethinking atrous convolution"; the limit on a class's share of a crop: MMSegmentation.
    """
    return Augment(scale=(0.5, 2.0), blur=0.0, noise=0.0)


def resize_map(ids: IntArray, size: Size) -> IntArray:
    """The label map resized to `size` (h, w) by nearest neighbour, aligned as interpolated pictures are."""
    if ids.shape == size:
        return ids
    resized = cv2.resize(np.ascontiguousarray(ids), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, ids.dtype)


def map_to_input(ids: Array, placement: Placement, ignore: int) -> Array:
    """The label map of a picture in the network's frame; where the frame is not picture, it holds `ignore`."""
    resized = resize_map(np.asarray(ids), placement.resized)
    if placement.resized == placement.frame:
        return resized
    framed = np.full(placement.frame, ignore, resized.dtype)
    x1, y1, x2, y2 = placement.window
    framed[y1:y2, x1:x2] = resized
    return framed


def framed_map(ids: IntArray, size: Size, ignore: int) -> IntArray:
    """The label map in the upper left of one of `size` (H, W), the rest `ignore`."""
    if ids.shape == size:
        return ids
    out = np.full(size, ignore, ids.dtype)
    out[: ids.shape[0], : ids.shape[1]] = ids
    return out


def varied_window(
    ids: IntArray,
    ignore: int,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    category_max: float,
) -> tuple[Window, Size]:
    """`jitter_window`, drawn up to ten times until no class fills more than `category_max` of what has truth in it.

    `ids` is the label map [H, W], with `ignore` where there is no truth. With `category_max` 0 the first will do.
    Source: MMSegmentation's RandomCrop with cat_max_ratio.
    """
    for _ in range(_ATTEMPTS):
        window, resized = jitter_window((ids.shape[0], ids.shape[1]), target, scale, generator)
        if not category_max or _largest_share(ids, ignore, window) < category_max:
            break
    return window, resized


def turned(array: Array, turns: int, *, horizontal: bool, vertical: bool) -> Array:
    """A picture or a label map turned anticlockwise by quarters, then mirrored left-right and top-bottom."""
    array = np.rot90(array, turns)
    array = array[:, ::-1] if horizontal else array
    return np.ascontiguousarray(array[::-1] if vertical else array)


def rotated(array: Array, window: Window, size: Size, degrees: float, fill: Array) -> Array:
    """What lies in `window` (xyxy) of a picture or label map, turned anticlockwise about its middle, in `size` (h, w).

    `fill` [C] is put where that reaches out of the picture. Label maps [H, W] take the nearest pixel.
    """
    x1, y1, x2, y2 = window
    across, down = (x2 - x1) / size[1], (y2 - y1) / size[0]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # From the middle of an output pixel to a place in the picture; the axis y points down.
    linear = np.array(((cos * across, -sin * down), (sin * across, cos * down)))
    middle = np.array(((x1 + x2) / 2, (y1 + y2) / 2))
    shift = middle - linear @ np.array((size[1] / 2, size[0] / 2))
    offset = shift + linear @ np.array((0.5, 0.5)) - 0.5
    matrix = np.hstack((linear, offset[:, None]))
    method = (cv2.INTER_NEAREST if array.ndim == 2 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP

    def warp(part: Array, colour: tuple[float, ...]) -> Array:
        border = cv2.BORDER_CONSTANT
        return np.asarray(cv2.warpAffine(part, matrix, size[::-1], flags=method, borderMode=border, borderValue=colour))

    return _by_fours(array, size, fill, warp)


def displacements(size: Size, sigma: float, generator: np.random.Generator) -> FloatArray:
    """A smooth field [2, H, W] of displacements (x, y) in pixels: bicubic between 3 x 3 draws of deviation `sigma`.

    Source: Ronneberger et al. 2015, "U-Net".
    """
    coarse = generator.normal(0, sigma, (2, _GRID, _GRID)).astype(np.float32)
    return np.stack([cv2.resize(part, size[::-1], interpolation=cv2.INTER_CUBIC) for part in coarse])


def deformed(array: Array, field: FloatArray) -> Array:
    """A picture or label map read at each pixel's place plus `field` [2, H, W]; beyond its border it is mirrored."""
    height, width = array.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    method = cv2.INTER_NEAREST if array.ndim == 2 else cv2.INTER_LINEAR

    def warp(part: Array, _: tuple[float, ...]) -> Array:
        return np.asarray(cv2.remap(part, x + field[0], y + field[1], method, borderMode=cv2.BORDER_REFLECT_101))

    return _by_fours(array, (height, width), np.zeros(array.shape[2:] or 1), warp)


def _by_fours(array: Array, size: Size, fill: Array, warp: Callable[[Array, tuple[float, ...]], Array]) -> Array:
    """OpenCV moves up to four channels at once."""
    colour = tuple(np.atleast_1d(fill).astype(float).tolist())
    if array.ndim == 2:
        return warp(np.ascontiguousarray(array), colour)
    parts = [
        warp(np.ascontiguousarray(array[..., first : first + 4]), colour[first : first + 4]).reshape(*size, -1)
        for first in range(0, array.shape[2], 4)
    ]
    return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def _largest_share(ids: IntArray, ignore: int, window: Window) -> float:
    x1, y1, x2, y2 = window
    step = max(1, math.isqrt((x2 - x1) * (y2 - y1) // _LOOKED_AT))
    seen = ids[y1:y2:step, x1:x2:step]
    counts = np.bincount(seen[seen != ignore])
    return float(counts.max() / counts.sum()) if counts.any() else 1.0
