"""How a training picture is looked at: which part of it, how large, turned and mirrored; drawn once for each picture.

A `window` is always a rectangle of whole pixels of the picture as it is stored: x1, y1, x2, y2, x2 and y2 exclusive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.geometry import Warp
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.augment import Augment

Size = tuple[int, int]
Window = tuple[int, int, int, int]
_WHOLE_AT_LEAST = 16


@dataclass(frozen=True, slots=True)
class View:
    """Resized by `factor`, turned anticlockwise by `degrees`, then by `turns` quarters, and then mirrored."""

    factor: float
    turns: int = 0
    horizontal: bool = False
    vertical: bool = False
    degrees: float = 0.0

    def scale(self, size: Size, resized: Size) -> tuple[float, float]:
        """How much larger (y, x) a picture of `size` becomes that prediction resizes to `resized`."""
        return self.factor * resized[0] / size[0], self.factor * resized[1] / size[1]

    def upright(self, size: Size) -> Size:
        """(h, w) before the quarter turns of what has `size` after them."""
        return size[::-1] if self.turns % 2 else size

    def reduction(self, size: Size) -> int:
        """By which whole number (1, 2, 4 or 8) a picture of `size` is averaged before it is resized as for prediction.

        A picture that is shown at half its size or less is one from farther away. The drawn factor alone decides: at
        factor 1 training sees the pixels that prediction sees. Pictures of a few pixels are left as they are.
        """
        return next((part for part in (8, 4, 2) if self.factor * part <= 1 and part * _WHOLE_AT_LEAST <= min(size)), 1)

    def warp(self, window: Window, resized: Size, target: Size) -> Warp:
        """What lies in `window`, resized to `resized` (h, w), in the upper left of `target` (h, w), then turned."""
        x1, y1, x2, y2 = window
        size = (y2 - y1, x2 - x1)
        warp = Warp.crop(window)
        if self.degrees:
            warp = warp.then(Warp.rotate(size, self.degrees))
        warp = warp.then(Warp.scale(size, resized)).then(Warp.crop((0, 0, target[1], target[0])))
        warp = warp.then(Warp.turn(target, self.turns))
        return warp.then(Warp.flip(warp.size, horizontal=self.horizontal, vertical=self.vertical))


def draw_view(augment: Augment, draw: np.random.Generator, *, rotated: bool = False) -> View:
    """A view as `augment` allows; `rotated` by an angle too."""
    factor = math.exp(draw.uniform(*np.log(augment.scale)))
    turns = int(draw.integers(1, 4)) if draw.random() < augment.rotate else 0
    horizontal, vertical = (draw.random(2) < (augment.flip, augment.vertical)).tolist()
    degrees = draw.uniform(-augment.angle, augment.angle) if rotated else 0.0
    return View(factor, turns, horizontal, vertical, degrees)


def jitter_window(
    size: Size,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    aim: tuple[float, float] | None = None,
    step: int = 1,
) -> tuple[Window, Size]:
    """Where to cut a picture of `size` so that, resized by `scale` (y, x), it fills `target` (h, w) as far as it can.

    Returns the window (inside the picture, its sides at multiples of `step`) and the size that it is resized to: that
    of the whole picture where it fits into `target`, else `target`. The window lies anywhere with equal probability, or
    holds the point `aim` (y, x).
    """
    starts, extents, resized = [], [], []
    for axis in (0, 1):
        length = size[axis] // step
        after = max(1, round(size[axis] * scale[axis]))
        extent = length
        if after > target[axis]:
            after = target[axis]
            extent = min(length, max(1, round(after / scale[axis] / step)))
        low, high = 0, length - extent
        if aim is not None:
            low = min(max(low, math.ceil(aim[axis] / step) - extent), high)
            high = max(min(high, math.floor(aim[axis] / step)), low)
        starts.append(step * int(generator.integers(low, high + 1)))
        extents.append(step * extent)
        resized.append(after)
    (y, x), (height, width) = starts, extents
    return (x, y, x + width, y + height), (resized[0], resized[1])


def jitter_view(
    size: Size,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    look: Callable[[Window, Size], tuple[Warp, InstanceSet | None]],
    boxes: FloatArray,
    *,
    step: int = 1,
    attempts: int = 5,
) -> tuple[Warp, InstanceSet | None]:
    """Large-scale jitter: `jitter_window` for a picture of which the objects' `boxes` [K, 4] (crowds aside) are known.

    `look` gives the warp of a window that is resized to a size, and the truth after it; where that has no object,
    another window is drawn, up to `attempts` times, the last around a box. Returns what `look` gave last.
    Source: Ghiasi et al. 2021, "Simple copy-paste is a strong data augmentation method".
    """
    for attempt in range(attempts):
        aim = None
        if attempt and attempt == attempts - 1:
            x1, y1, x2, y2 = boxes[generator.integers(len(boxes))].tolist()
            aim = ((y1 + y2) / 2, (x1 + x2) / 2)
        warp, seen = look(*jitter_window(size, target, scale, generator, aim, step))
        if seen is None or not len(boxes) or (len(seen) and (seen.crowd is None or not seen.crowd.all())):
            break
    return warp, seen
