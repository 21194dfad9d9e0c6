"""The pixels of a resized or warped picture: training and prediction get theirs here, so both see the same.

Pictures are [H, W, C] of any channel count, uint8, uint16 or float32, values as stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from PIL import Image

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.geometry import Warp, moved, turned

Rule: TypeAlias = Literal[
    "torchvision", "detectron2", "mmdet", "matterport", "shrink", "none", "segment-anything", "sam2", "yolox"
]
Size: TypeAlias = tuple[int, int]
Borders: TypeAlias = tuple[bool, bool, bool, bool]
_ALL_BORDERS = (True, True, True, True)
_ROUNDING = 1e-3
_STRIP = 64


def resized(image: Array, size: Size, rule: Rule, borders: Borders = _ALL_BORDERS) -> Array:
    """The picture resized to `size` (h, w) by the rule of `Resize`, larger or smaller.

    Whole numbers stay what they are where the rule's own library rounds to them; `torchvision` and `sam2` give float32,
    and so do `detectron2` and `segment-anything` for anything but bytes. `borders` (left, top, right, bottom) says
    where the picture ends: a training picture is cut before it is resized, and `matterport` fades at the picture's own
    borders alone.
    """
    match rule:
        case "torchvision":
            return _bilinear(image, size)
        case "detectron2":
            return _by_pillow(image, size) if image.dtype == np.uint8 else _bilinear(image, size)
        case "segment-anything":
            return _by_pillow(image, size) if image.dtype == np.uint8 else _antialiased(image, size)
        case "sam2":
            return _antialiased(image, size)
        case "matterport":
            return _faded(image, size, borders)
        case "mmdet" | "yolox":
            return _by_opencv(image, size, cv2.INTER_LINEAR)
        case "shrink" | "none":
            # Averaged over what a pixel covers along an axis that shrinks, interpolated along one that grows.
            least = (min(size[0], image.shape[0]), min(size[1], image.shape[1]))
            return _by_opencv(_by_opencv(image, least, cv2.INTER_AREA), size, cv2.INTER_LINEAR)


def averaged(image: Array, factor: int) -> Array:
    """The picture at 1 / `factor` of its size, rounded down: each pixel is the mean of `factor` x `factor`."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return _by_opencv(image[: height * factor, : width * factor], (height, width), cv2.INTER_AREA)


def warped_picture(image: Array, warp: Warp, rule: Rule, fill: Array) -> tuple[Array, tuple[int, int]]:
    """The picture after a warp: the part of the target that it covers, and where that begins (y, x).

    A cut along whole pixels is resized by `rule`, so that the whole picture at prediction's size is what prediction
    sees; exact moves interpolate nothing. A rotation of a picture that becomes smaller is resized by `rule` first, and
    then read bilinearly at its size; it covers the whole target, with `fill` [C], in stored values, where it shows
    nothing.
    """
    size = (image.shape[0], image.shape[1])
    found = warp.cut(size)
    if found is None:
        return _rotated(image, warp, rule, fill), (0, 0)
    x1, y1, x2, y2 = found.window
    borders = (x1 == 0, y1 == 0, x2 == size[1], y2 == size[0])
    return turned(resized(image[y1:y2, x1:x2], found.size, rule, borders), found.rest)


def as_stored(values: FloatArray, dtype: np.dtype[Any]) -> Array:
    """Values in a stored type, rounded and clipped if that holds whole numbers."""
    if dtype.kind == "f":
        return np.asarray(values, dtype)
    return np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)


def by_fours(image: Array, change: Callable[[Array, slice], Array]) -> Array:
    """The picture [H, W, C] after a change that OpenCV makes to up to four channels at once."""
    groups = [slice(first, first + 4) for first in range(0, image.shape[2], 4)]
    parts = [change(np.ascontiguousarray(image[..., group]), group) for group in groups]
    parts = [part.reshape(*part.shape[:2], -1) for part in parts]
    return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def _by_opencv(image: Array, size: Size, method: int) -> Array:
    if image.shape[:2] == size:
        return image
    return by_fours(image, lambda part, _: np.asarray(cv2.resize(part, size[::-1], interpolation=method)))


def _bilinear(image: Array, size: Size) -> FloatArray:
    """Bilinear in float32 with half-pixel centres, without antialiasing, as PyTorch reads: see `_taps`."""
    if image.shape[:2] == size:
        return image.astype(np.float32, copy=False)
    (low, high, share), across = _taps(image.shape[0], size[0]), _taps(image.shape[1], size[1])

    def change(part: Array, _: slice) -> Array:
        out = np.empty((*size, part.shape[2]), np.float32)
        # What a few rows need stays in the processor's cache.
        for first in range(0, size[0], _STRIP):
            strip = slice(first, first + _STRIP)
            rows = _between(part, low[strip], high[strip], share[strip])
            columns = np.asarray(cv2.transpose(rows)).reshape(-1, len(rows), part.shape[2])
            cv2.transpose(_between(columns, *across), dst=out[strip])
        return out

    return by_fours(image, change)


def _between(image: Array, low: IntArray, high: IntArray, share: FloatArray) -> FloatArray:
    """Rows between the rows `low` [n] and `high` [n] of the picture, float32; `share` [n] is that of the second."""
    rows: FloatArray = np.take(image, high, axis=0).astype(np.float32, copy=False)
    first = np.take(image, low, axis=0).astype(np.float32, copy=False)
    rows -= first
    rows *= share[:, None, None]
    rows += first
    return rows


def _taps(before: int, after: int) -> tuple[IntArray, IntArray, FloatArray]:
    """For each new pixel its two old neighbours and the share of the second.

    Positions are those of PyTorch's kernels with fused multiply-add: the ratio is rounded to float32, and so is
    ratio * (i + 0.5) - 0.5, once. At a thousand pixels they are off by 1e-4 of a pixel, by which detectors move boxes
    by some hundredths: weights trained behind PyTorch's resize get the same.
    """
    ratio = np.float64(np.float32(before) / np.float32(after))
    position = np.maximum((ratio * (np.arange(after) + 0.5) - 0.5).astype(np.float32), np.float32(0))
    low = np.minimum(position.astype(np.int64), before - 1)
    return low, np.minimum(low + 1, before - 1), (position - low).astype(np.float32)


def _by_pillow(image: Array, size: Size) -> Array:
    if image.shape[:2] == size:
        return image
    count = image.shape[2]
    parts = [image] if count == 3 else [image[..., channel] for channel in range(count)]
    pictures = [Image.fromarray(np.ascontiguousarray(part)) for part in parts]
    drawn = [np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR)) for picture in pictures]
    return drawn[0] if count == 3 else np.stack(drawn, axis=2)


def _antialiased(image: Array, size: Size) -> FloatArray:
    """Bilinear in float32, averaged over what a pixel covers where the picture shrinks: Pillow's, without rounding."""
    if image.shape[:2] == size:
        return image.astype(np.float32, copy=False)
    made = np.empty((*size, image.shape[2]), np.float32)
    for channel in range(image.shape[2]):
        plane = Image.fromarray(image[..., channel].astype(np.float32))
        made[..., channel] = np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR))
    return made


def _faded(image: Array, size: Size, borders: Borders) -> Array:
    """Blended with zeros at the borders, as scikit-image's order-1 resize does where it looks outside the picture."""
    if image.shape[:2] == size:
        return image
    out = np.array(_bilinear(image, size))
    left, top, right, bottom = borders
    for axis, (first, last) in enumerate(((top, bottom), (left, right))):
        before, after = image.shape[axis], size[axis]
        position = before / after * (np.arange(after) + 0.5) - 0.5
        outside = first * np.maximum(0, -position) + last * np.maximum(0, position - (before - 1))
        # Row by row: numpy multiplies three values at a time slowly.
        weights = np.repeat(1 - outside, image.shape[2] if axis else 1).astype(np.float32)
        out.reshape(size[0], -1)[:] *= weights if axis else weights[:, None]
    if image.dtype == np.float32:
        return out
    # The reference cuts off fractions; what rounding put just below a whole number is that number.
    return np.asarray(np.floor(out + np.float32(_ROUNDING)), image.dtype)


def _rotated(image: Array, warp: Warp, rule: Rule, fill: Array) -> Array:
    size = (image.shape[0], image.shape[1])
    seen = warp.inverse(size).boxes(np.array([(0, 0, warp.size[1], warp.size[0])]))[0]
    shrink = np.minimum(1, np.linalg.norm(warp.matrix[:, :2], axis=0))
    # Pixels beyond the border are read where a pixel lies between two.
    margin = np.ceil(2 / shrink)
    x1, y1 = np.maximum(np.floor(seen[:2]) - margin, 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(seen[2:]) + margin, size[::-1]).astype(int).tolist()
    if x2 <= x1 or y2 <= y1:
        part = resized(image[:1, :1], (1, 1), rule)
        return moved(part, Warp.crop((1, 1, 1 + warp.size[1], 1 + warp.size[0])), as_stored(fill, part.dtype))
    width, height = np.maximum(1, np.rint((x2 - x1, y2 - y1) * shrink)).astype(int).tolist()
    borders = (x1 == 0, y1 == 0, x2 == size[1], y2 == size[0])
    part = resized(image[y1:y2, x1:x2], (height, width), rule, borders)
    near = Warp.crop((x1, y1, x2, y2)).then(Warp.scale((y2 - y1, x2 - x1), (height, width)))
    back = warp.inverse(size).then(near).matrix
    # OpenCV counts from the middle of the first pixel.
    matrix = np.hstack((back[:, :2], back @ np.array(((0.5,), (0.5,), (1.0,))) - 0.5))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    colour = as_stored(fill, part.dtype).astype(float).tolist()

    def turn(channels: Array, group: slice) -> Array:
        drawn = cv2.warpAffine(channels, matrix, warp.size[::-1], flags=flags, borderValue=colour[group])
        return np.asarray(drawn)

    return by_fours(part, turn)
