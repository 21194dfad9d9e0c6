"""Where classes meet: the pixels by which boundary IoU judges (Cheng et al. 2021, "Boundary IoU")."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import BoolArray, IntArray

DILATION_RATIO = 0.02


def boundary_width(size: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """How far, in pixels, the boundary reaches into a class: `ratio` of the diagonal of `size` (H, W), at least 1."""
    return max(1, round(ratio * float(np.hypot(*size))))


def boundary_pixels(ids: IntArray, width: int) -> BoolArray:
    """The pixels of a label map [H, W] at most `width` pixels (also diagonally) from another class or the edge.

    For each class these are what erosion by a square of side 2 `width` + 1 takes away, as in the paper's reference
    implementation; here for all classes at once. Ids lie in 0 to 65,535.
    """
    import cv2

    plane = ids if ids.dtype == np.uint8 else ids.astype(np.uint16)
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    lowest, highest = (
        operation(plane, square, borderType=cv2.BORDER_REPLICATE) for operation in (cv2.erode, cv2.dilate)
    )
    found: BoolArray = np.not_equal(lowest, highest)
    for edge in (found[:width], found[-width:], found[:, :width], found[:, -width:]):
        edge[:] = True
    return found
