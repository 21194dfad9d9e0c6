"""Foreground that grows from seeds, is cut out of its box, or is enclosed by a contour that moves."""

from __future__ import annotations

import cv2
import numpy as np

from everymask.classical.grey import STEEPNESS, bytes_of, grey_of, logits_of, range_of, upright
from everymask.classical.specs import ActiveContour, ChanVese, GrabCut, RandomWalker, RegionGrowing
from everymask.classical.thresholds import threshold_of
from everymask.core.arrays import BoolArray, FloatArray
from everymask.errors import require

_SURE = 0.2


def region_growing(spec: RegionGrowing, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground, for a picture [3, H, W] of brightness 0 to 1."""
    grey = np.ascontiguousarray(grey_of(picture, spec.blur))
    height, width = grey.shape
    shares = spec.seeds or (0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    grown = np.zeros((height + 2, width + 2), np.uint8)
    flags = 4 | (255 << 8) | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    for x, y in zip(shares[::2], shares[1::2], strict=True):
        seed = (min(int(x * width), width - 1), min(int(y * height), height - 1))
        if not grown[seed[1] + 1, seed[0] + 1]:
            cv2.floodFill(grey, grown, seed, 0, spec.tolerance, spec.tolerance, flags)
    inside: BoolArray = grown[1:-1, 1:-1] > 0
    return _sure(inside if spec.seeds else ~inside, spec)


def grab_cut(spec: GrabCut, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    shown = bytes_of(picture)
    height, width = shown.shape[:2]
    x1, y1, x2, y2 = (round(share * side) for share, side in zip(spec.box, (width, height) * 2, strict=True))
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    marks = np.full((height, width), cv2.GC_BGD, np.uint8)
    marks[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = cv2.GC_PR_FGD
    # Its mixtures have five colours each, and there must be both kinds of pixels.
    fewest = min(np.count_nonzero(marks == kind) for kind in (cv2.GC_BGD, cv2.GC_PR_FGD))
    if fewest >= 5 and len(np.unique(shown.reshape(-1, 3), axis=0)) > 1:
        cv2.setRNGSeed(0)
        inner, outer = np.zeros((1, 65)), np.zeros((1, 65))
        none, bgr = (0, 0, 0, 0), np.ascontiguousarray(shown[..., ::-1])
        cv2.grabCut(bgr, marks, none, outer, inner, spec.iterations, cv2.GC_INIT_WITH_MASK)
    return _sure(np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)), spec)


def random_walker(spec: RandomWalker, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground: of its probability that the walk ends there."""
    segmentation = require("skimage.segmentation", "classical")
    grey = grey_of(picture, spec.blur)
    bright, limit = upright(grey, threshold_of(grey, "otsu"), spec.polarity)
    beyond = (bright - limit) / np.float32(range_of(grey))
    seeds = np.where(beyond > spec.margin, 2, np.where(beyond < -spec.margin, 1, 0))
    excess = beyond
    if {1, 2} <= set(np.unique(seeds).tolist()) and (seeds == 0).any():
        probable = segmentation.random_walker(
            bright, seeds, beta=spec.beta, mode="cg_j", tol=1e-4, prob_tol=0.1, return_full_prob=True
        )
        inside = np.clip(probable[1], 1e-6, 1 - 1e-6)
        excess = (np.log(inside / (1 - inside)) / STEEPNESS).astype(np.float32)
    return logits_of(excess, excess > 0, spec)


def chan_vese(spec: ChanVese, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    segmentation = require("skimage.segmentation", "classical")
    grey = grey_of(picture, spec.blur)
    if np.ptp(grey) == 0:
        return _sure(np.zeros(grey.shape, np.bool_), spec)
    mask = segmentation.chan_vese(grey, mu=spec.mu, max_num_iter=spec.iterations, init_level_set="checkerboard")
    return _by_side(mask, grey, spec)


def active_contour(spec: ActiveContour, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground."""
    segmentation = require("skimage.segmentation", "classical")
    grey = grey_of(picture, spec.blur)
    if min(grey.shape) < 3:  # there is no room for a contour
        return _sure(np.zeros(grey.shape, np.bool_), spec)
    steep = segmentation.inverse_gaussian_gradient(grey, alpha=spec.alpha, sigma=1.0)
    begin = np.zeros(grey.shape, np.int8)
    begin[1:-1, 1:-1] = 1
    mask = segmentation.morphological_geodesic_active_contour(
        steep, spec.iterations, init_level_set=begin, smoothing=1, balloon=-1
    )
    return _sure(mask.astype(np.bool_), spec)


def _by_side(mask: BoolArray, grey: FloatArray, spec: ChanVese) -> FloatArray:
    """Of a division into two the side that is foreground."""
    wanted = spec.polarity
    if wanted == "auto":
        turned = bool(np.count_nonzero(mask) > mask.size / 2)
    else:
        brighter = bool(mask.any() and not mask.all() and grey[mask].mean() > grey[~mask].mean())
        turned = brighter != (wanted == "bright")
    return _sure(~mask if turned else mask, spec)


def _sure(mask: BoolArray, spec: RegionGrowing | GrabCut | ChanVese | ActiveContour) -> FloatArray:
    """Logits of a method that does not say how sure it is."""
    return logits_of(np.where(mask, _SURE, -_SURE).astype(np.float32), mask, spec)
