"""Objects found at once: by watersheds, by closed edges, and as regions that are alike inside."""

from __future__ import annotations

import cv2
import numpy as np

from everymask.classical.bases import Partition
from everymask.classical.grey import STEEPNESS, blurred, bytes_of, cleaned, filled, grey_of, parts_of
from everymask.classical.specs import SLIC, CannyContours, Felzenszwalb, MarkerWatershed, Otsu, Watershed
from everymask.classical.splitting import Splitting, flood, numbered, objects_of, split_mask
from everymask.classical.thresholds import excess_of
from everymask.core.arrays import FloatArray, IntArray
from everymask.core.segmentation import InstanceSet
from everymask.errors import require


def watershed(spec: Watershed, picture: FloatArray) -> InstanceSet:
    """The objects of a picture [3, H, W] of brightness 0 to 1, each as sure as its contrast."""
    grey = grey_of(picture, spec.blur)
    chosen = Otsu(polarity=spec.polarity, factor=spec.factor, block=spec.block)
    excess = excess_of(grey, spec.foreground, chosen)
    mask = cleaned(excess > 0, fill_holes=True, min_area=spec.min_area)
    if spec.markers == "distance":
        numbers = split_mask(mask, Splitting(h=spec.h, sigma=spec.sigma, min_area=spec.min_area))
    else:
        numbers = flood(mask, blurred(100 * excess, spec.sigma), spec.h, spec.min_area)
    return _found(numbers, _contrast(excess), spec.max_detections)


def marker_watershed(spec: MarkerWatershed, picture: FloatArray) -> InstanceSet:
    """The objects of a picture; the lines between them belong to none."""
    grey = grey_of(picture, spec.blur)
    excess = excess_of(grey, "otsu", Otsu(polarity=spec.polarity))
    mask = cleaned(excess > 0, fill_holes=True, min_area=spec.min_area)
    parts = parts_of(mask, 0)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    deepest = np.zeros(int(parts.max()) + 1, np.float32)
    np.maximum.at(deepest, parts, distance)
    inside = parts_of(mask & (distance > spec.inside * deepest[parts]), 0)
    reach = np.ones((2 * spec.margin + 1,) * 2, np.uint8)
    near = cv2.dilate(mask.astype(np.uint8), reach) > 0
    # 1 is background, 0 is for the watershed to say.
    markers = np.where(inside > 0, inside + 1, np.where(near, 0, 1)).astype(np.int32)
    cv2.watershed(bytes_of(picture), markers)
    return _found(numbered(np.maximum(markers - 1, 0), spec.min_area), _contrast(excess), spec.max_detections)


def canny_contours(spec: CannyContours, picture: FloatArray) -> InstanceSet:
    """What closed edges enclose, each as sure as its outline is edge."""
    grey = blurred(picture.mean(axis=0, dtype=np.float32), spec.blur)
    # Sobel's kernel adds up to four times the difference of two pixels.
    shown = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    edges = cv2.Canny(shown, spec.low * 255, spec.high * 255, L2gradient=True)
    closed = edges
    if spec.gap:
        closed = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((spec.gap + 1,) * 2, np.uint8))
    inside = filled(closed > 0) & (closed == 0)
    # Back to the middle of the edge, of which one pixel was taken.
    numbers = parts_of(inside, 0)
    grown = cv2.dilate(numbers.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.int32)
    numbers = numbered(np.where(numbers > 0, numbers, np.where(closed > 0, grown, 0)), spec.min_area)
    outline = numbers != cv2.erode(numbers.astype(np.float32), np.ones((3, 3), np.uint8))
    near = cv2.dilate(edges, np.ones((3, 3), np.uint8)) > 0
    count = int(numbers.max())
    lengths = np.bincount(numbers[outline], minlength=count + 1)
    shares = np.bincount(numbers[outline & near], minlength=count + 1) / np.maximum(lengths, 1)
    return _found(numbers, shares.astype(np.float32)[numbers], spec.max_detections)


def felzenszwalb(spec: Felzenszwalb, picture: FloatArray) -> InstanceSet:
    """The regions of a picture."""
    segmentation = require("skimage.segmentation", "classical")
    colours = picture.transpose(1, 2, 0)
    regions = segmentation.felzenszwalb(colours, scale=spec.scale, sigma=spec.sigma, min_size=max(spec.min_area, 1))
    return kept_of(spec, regions, picture)


def slic(spec: SLIC, picture: FloatArray) -> InstanceSet:
    """The superpixels of a picture."""
    segmentation = require("skimage.segmentation", "classical")
    colours = np.ascontiguousarray(picture.transpose(1, 2, 0))
    regions = segmentation.slic(
        colours, n_segments=spec.segments, compactness=spec.compactness, sigma=spec.sigma, start_label=0
    )
    return kept_of(spec, regions, picture)


def kept_of(spec: Partition, regions: IntArray, picture: FloatArray) -> InstanceSet:
    """The regions, numbered from 0 in a map [H, W], that a spec keeps, as objects."""
    grey = grey_of(picture, 0)
    counts = np.bincount(regions.reshape(-1))
    means = (np.bincount(regions.reshape(-1), grey.reshape(-1)) / np.maximum(counts, 1)).astype(np.float32)
    if spec.keep == "foreground":
        flat = means[regions]
        excess = excess_of(flat, "otsu", Otsu())
        chosen = np.where(excess > 0, regions + 1, 0)
        return _found(numbered(chosen, spec.min_area), _contrast(excess), spec.max_detections)
    return _found(numbered(regions + 1, spec.min_area), None, spec.max_detections)


def _contrast(excess: FloatArray) -> FloatArray:
    """How sure pixels are of being foreground, by how far they exceed the threshold: 0.5 at it, 1 far away."""
    sure: FloatArray = 1 / (1 + np.exp(-np.clip(excess * STEEPNESS, -80, 80)))
    return sure


def _found(numbers: IntArray, scores: FloatArray | None, most: int) -> InstanceSet:
    return objects_of(numbers, np.zeros(int(numbers.max(initial=0)), np.int64), scores, most)
