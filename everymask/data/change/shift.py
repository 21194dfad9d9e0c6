"""How far two pictures of one place lie beside each other."""

from __future__ import annotations

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray

_LEAST = 32
_SMOOTHED = 1.5


def shift_between(before: Array, after: Array) -> tuple[float, float, float]:
    """Where what `before` shows lies in `after`: (x, y) in pixels, to the right and down, and how sure that is, 0-1.

    Both are [H, W, C] of one size, of at least 32 pixels a side (else all three are 0). The peak of the phase
    correlation of their edges under a Hanning window, found to fractions of a pixel (Kuglin and Hines 1975; edges,
    since light and season change brightness between dates). Shifts beyond half a side are not seen.
    """
    if min(before.shape[:2]) < _LEAST:
        return 0.0, 0.0, 0.0
    first, second = _edges(before), _edges(after)
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    (x, y), response = cv2.phaseCorrelate(first, second, window)
    return float(x), float(y), float(response)


def _edges(image: Array) -> FloatArray:
    """How strong edges are, [H, W] float32, of mean 0."""
    grey = np.ascontiguousarray(image.mean(axis=2, dtype=np.float32))
    grey = cv2.GaussianBlur(grey, (0, 0), _SMOOTHED)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength: FloatArray = np.hypot(across, down)
    strength -= strength.mean()
    return strength
