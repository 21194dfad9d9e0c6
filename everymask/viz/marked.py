"""A place in a picture, framed so that it is found at once."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array, ByteArray
from everymask.viz.draw import displayable, resized, scaled_size

_FRAME = np.array([255, 45, 85], np.uint8)
_SEAM = np.array([255, 255, 255], np.uint8)
_CONTEXT = 4.0  # a small place is shown with so many times its size around it


def draw_marked(image: Array, box: tuple[float, float, float, float] | None, *, side: int) -> ByteArray:
    """A picture as uint8 [H, W, 3], its longer side `side` pixels, with a frame around `box` (xyxy in its pixels).

    `image` is [H, W] or [H, W, C] as in `displayable`. Where the box is small, only its neighbourhood is shown. A box
    that leaves the picture is drawn on a margin, as far as half of the picture away; None draws no frame.
    """
    canvas = displayable(image)
    if box is None:
        return resized(canvas, scaled_size(canvas.shape[:2], side))
    height, width = canvas.shape[:2]
    x1, x2 = sorted(float(np.clip(x, -width / 2, 1.5 * width)) for x in box[0::2])
    y1, y2 = sorted(float(np.clip(y, -height / 2, 1.5 * height)) for y in box[1::2])
    left, top, right, bottom = _window((x1, y1, x2, y2), (height, width))
    margins = (max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width)), (0, 0)
    padded = np.pad(canvas[max(0, top) : max(0, bottom), max(0, left) : max(0, right)], margins, constant_values=96)
    size = scaled_size(padded.shape[:2], side)
    shown = resized(padded, size)
    scale = size[1] / padded.shape[1], size[0] / padded.shape[0]
    corners = [round((x1 - left) * scale[0]), round((y1 - top) * scale[1])]
    corners += [round((x2 - left) * scale[0]), round((y2 - top) * scale[1])]
    for width_of, colour in ((5, _SEAM), (3, _FRAME)):
        _frame(shown, corners, colour, width_of)
    return shown


def _window(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """What is shown: the picture and the box, or the neighbourhood of a box that is small and inside."""
    x1, y1, x2, y2 = box
    height, width = size
    reach = max(_CONTEXT * max(x2 - x1, y2 - y1), 64.0)
    leaves = x1 < 0 or y1 < 0 or x2 > width or y2 > height
    if leaves or reach >= 0.75 * max(size):
        inside = (min(0.0, x1), min(0.0, y1), max(float(width), x2), max(float(height), y2))
    else:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        inside = (
            min(max(0.0, x - reach / 2), x1), min(max(0.0, y - reach / 2), y1),
            max(min(float(width), x + reach / 2), x2), max(min(float(height), y + reach / 2), y2),
        )  # fmt: skip
    left, top, right, bottom = (int(np.floor(v)) if k < 2 else int(np.ceil(v)) for k, v in enumerate(inside))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _frame(canvas: ByteArray, corners: list[int], colour: ByteArray, width: int) -> None:
    """A rectangle around the corners, all of it inside the picture."""
    import cv2

    last = canvas.shape[1] - 1, canvas.shape[0] - 1
    x1, x2 = (int(np.clip(x, 2, max(2, last[0] - 2))) for x in corners[0::2])
    y1, y2 = (int(np.clip(y, 2, max(2, last[1] - 2))) for y in corners[1::2])
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour.tolist(), width)
