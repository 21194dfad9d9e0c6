"""What the methods share: the picture as one brightness, and masks made whole."""

from __future__ import annotations

import cv2
import numpy as np

from everymask.classical.bases import Foreground, Polarity
from everymask.core.arrays import BoolArray, ByteArray, FloatArray, IntArray

STEEPNESS = 10.0
"""A pixel that is a tenth of the picture's range of brightness beyond the threshold has the logit 1."""
LEVELS = 256
_LEAST = 1e-3


def grey_of(picture: FloatArray, blur: float) -> FloatArray:
    """The mean of the channels of a picture [C, H, W], [H, W] float32, after a Gaussian of sigma `blur` (0: none)."""
    return blurred(picture.mean(axis=0, dtype=np.float32), blur)


def blurred(plane: FloatArray, sigma: float) -> FloatArray:
    """A plane [H, W], or a picture [H, W, C], after a Gaussian that sees its border pixels repeated outside."""
    if sigma <= 0:
        return plane
    side = 2 * int(4 * sigma + 0.5) + 1
    return np.asarray(cv2.GaussianBlur(plane, (side, side), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


def bytes_of(picture: FloatArray) -> ByteArray:
    """A picture [3, H, W] of brightness 0 to 1 as OpenCV takes it, uint8 [H, W, 3] in the same order of channels."""
    return np.ascontiguousarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0))


def upright(grey: FloatArray, threshold: FloatArray | float, polarity: Polarity) -> tuple[FloatArray, FloatArray]:
    """Brightness [H, W] and threshold (of any shape that broadcasts), turned round where dark is foreground.

    With "auto" foreground is the side of the threshold that has at most half of the pixels.
    """
    limit = np.asarray(threshold, np.float32)
    dark = polarity == "dark" or (polarity == "auto" and np.count_nonzero(grey > limit) > grey.size / 2)
    return (1 - grey, 1 - limit) if dark else (grey, limit)


def logits_of(excess: FloatArray, mask: BoolArray, spec: Foreground) -> FloatArray:
    """Logits [1, H, W] of foreground: above 0 just where the `mask` is, after holes and small parts are dealt with.

    How sure they are is by how much brightness is in `excess` of the threshold, as a part of the picture's range.
    """
    whole = cleaned(mask, fill_holes=spec.fill_holes, min_area=spec.min_area)
    logits = np.clip(excess * STEEPNESS, -80, 80).astype(np.float32)
    sides: FloatArray = np.where(whole, np.maximum(logits, _LEAST), np.minimum(logits, -_LEAST))[None]
    return sides


def range_of(grey: FloatArray) -> float:
    """The range of brightness; not 0."""
    return max(float(grey.max() - grey.min()), 1e-6)


def cleaned(mask: BoolArray, *, fill_holes: bool, min_area: int) -> BoolArray:
    """The mask [H, W] with its holes filled, and without 8-connected parts of fewer than `min_area` pixels."""
    if fill_holes:
        mask = filled(mask)
    if min_area > 1:
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        large = stats[:count, cv2.CC_STAT_AREA] >= min_area
        large[0] = False
        mask = large[parts]
    return mask


def filled(mask: BoolArray) -> BoolArray:
    """The mask [H, W] and what it encloses: 4-connected background that does not reach the border of the picture."""
    count, parts = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    outside = np.zeros(count, np.bool_)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        outside[edge] = True
    outside[0] = False
    whole: BoolArray = ~outside[parts]
    return whole


def parts_of(mask: BoolArray, min_area: int) -> IntArray:
    """The 8-connected parts of a mask, numbered from 1; 0 elsewhere and where a part is smaller than `min_area`."""
    _, parts = cv2.connectedComponents(cleaned(mask, fill_holes=False, min_area=min_area).astype(np.uint8))
    return np.asarray(parts, np.int32)
