"""Foreground by brightness: one threshold for the picture, one for each pixel, or two with what hangs together."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from everymask.classical.bases import Foreground
from everymask.classical.grey import LEVELS, grey_of, logits_of, range_of, upright
from everymask.classical.specs import Adaptive, Hysteresis, Li, MultiOtsu, Sauvola, Threshold, Triangle
from everymask.core.arrays import BoolArray, FloatArray
from everymask.errors import require

Rule = Literal["otsu", "li", "triangle"]
_SURE = 4.0


def by_threshold(spec: Threshold, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground, for a picture [3, H, W] of brightness 0 to 1."""
    rule: Rule = "li" if isinstance(spec, Li) else "triangle" if isinstance(spec, Triangle) else "otsu"
    grey = grey_of(picture, spec.blur)
    excess = excess_of(grey, rule, spec)
    return logits_of(excess, excess > 0, spec)


def excess_of(grey: FloatArray, rule: Rule, spec: Threshold) -> FloatArray:
    """By how much each pixel [H, W] exceeds the threshold, and its surroundings, as a part of the range of `grey`."""
    bright, limit = upright(grey, threshold_of(grey, rule), spec.polarity)
    excess = bright - limit * np.float32(spec.factor)
    if spec.block > 1:
        side = spec.block | 1
        around = cv2.blur(bright, (side, side), borderType=cv2.BORDER_REPLICATE)
        excess = np.minimum(excess, bright - around)
    lowest: FloatArray = excess / np.float32(range_of(grey))
    return lowest


def threshold_of(grey: FloatArray, rule: Rule) -> float:
    """The threshold of a grey picture [H, W]: brighter pixels are one class. Otsu's equals scikit-image's."""
    if rule == "li":
        filters = require("skimage.filters", "classical")
        return float(filters.threshold_li(grey)) if np.ptp(grey) > 0 else float(grey.flat[0])
    low, high = float(grey.min()), float(grey.max())
    if low == high:
        return low
    step = (high - low) / LEVELS
    levels = np.minimum((grey.astype(np.float64) - low) / step, LEVELS - 1).astype(np.uint8)
    kind = cv2.THRESH_OTSU if rule == "otsu" else cv2.THRESH_TRIANGLE
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | kind)
    # The middle of the last level of the darker class.
    return low + (level + 0.5) * step


def adaptive(spec: Adaptive, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    grey = grey_of(picture, spec.blur)
    side = (spec.block, spec.block)
    if spec.method == "mean":
        around = cv2.blur(grey, side, borderType=cv2.BORDER_REPLICATE)
    else:
        around = cv2.GaussianBlur(grey, side, 0, borderType=cv2.BORDER_REPLICATE)
    return _beyond(grey, around - np.float32(spec.offset), spec)


def sauvola(spec: Sauvola, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    filters = require("skimage.filters", "classical")
    grey = grey_of(picture, spec.blur)
    limit = filters.threshold_sauvola(grey, window_size=_fitting(spec.window, grey), k=spec.k, r=0.5)
    return _beyond(grey, limit.astype(np.float32), spec)


def _fitting(window: int, grey: FloatArray) -> int:
    """The window, or the largest odd one that a small picture has room for."""
    return min(window, max(3, (int(min(grey.shape)) - 1) | 1))


def _beyond(grey: FloatArray, limit: FloatArray, spec: Foreground) -> FloatArray:
    bright, least = upright(grey, limit, spec.polarity)
    excess = (bright - least) / np.float32(range_of(grey))
    return logits_of(excess, excess > 0, spec)


def hysteresis(spec: Hysteresis, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    filters = require("skimage.filters", "classical")
    grey = grey_of(picture, spec.blur)
    bright, limit = upright(grey, threshold_of(grey, "otsu"), spec.polarity)
    mask: BoolArray = filters.apply_hysteresis_threshold(bright, float(limit) * spec.low, float(limit) * spec.high)
    return logits_of((bright - limit * np.float32(spec.low)) / np.float32(range_of(grey)), mask, spec)


def multi_otsu(spec: MultiOtsu, picture: FloatArray) -> FloatArray:
    """Logits [K, H, W] of the classes by brightness, the darkest first; two have one plane, that of the brighter."""
    filters = require("skimage.filters", "classical")
    grey = grey_of(picture, spec.blur)
    if len(np.unique(np.floor(grey * LEVELS))) < spec.classes:
        limits = np.linspace(0, 1, spec.classes + 1)[1:-1]
    else:
        limits = filters.threshold_multiotsu(grey, classes=spec.classes)
    return one_hot(np.digitize(grey, limits), spec.classes)


def one_hot(ids: np.ndarray, classes: int) -> FloatArray:
    """Logits [K, H, W] of a label map [H, W]; of two classes one plane [1, H, W], above 0 where the second is."""
    if classes == 2:
        return np.where(ids == 1, _SURE, -_SURE).astype(np.float32)[None]
    return np.where(ids == np.arange(classes)[:, None, None], _SURE, 0).astype(np.float32)
