"""Selective search (Uijlings et al. 2013): boxes around whatever may be an object, from regions that are merged."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np

from everymask.core.arrays import Array, ByteArray, FloatArray, IntArray
from everymask.core.randomness import rng
from everymask.errors import ConfigError, require

_SIGMA = 0.8
_COLOUR_BINS = 25
_TEXTURE_BINS = 10
_ORIENTATIONS = 8
_COLOURS = (cv2.COLOR_RGB2HSV, cv2.COLOR_RGB2LAB)
_LEAST = 8


@dataclass(frozen=True, slots=True)
class SelectiveSearch:
    """How a picture is searched: over-segmented at each of `scales` in two colour spaces, HSV and Lab, and merged.

    Up to `most` boxes are given. The picture is shrunk so that its longer side has at most `side` pixels first.
    """

    scales: tuple[int, ...] = (50, 100)
    side: int = 500
    most: int = 2000

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < 1 or self.side < 16 or self.most < 1:
            raise ConfigError(
                "selective search needs scales of at least 1, a side of at least 16 pixels and at least one box, but "
                f"got {self.scales}, {self.side} and {self.most}"
            )

    def boxes(self, picture: ByteArray) -> FloatArray:
        """Boxes [N, 4] float32 xyxy of a picture uint8 [H, W, 3], the most promising first; the whole picture is one.

        Of regions that were merged later boxes are more promising, as in the paper by ranks that are drawn, here always
        the same way. None is narrower than 8 pixels of the shrunk picture, or the whole of it. `MissingExtra` without
        scikit-image.

        >>> boxes = SelectiveSearch().boxes(np.asarray(Image.open("photo.jpg").convert("RGB")))
        """
        segmentation = require("skimage.segmentation", "classical")
        height, width = picture.shape[:2]
        factor = min(1.0, self.side / max(height, width))
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        shown = picture if factor == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        found, ranks = [np.array([[0, 0, *size]])], [np.zeros(1)]
        draw = rng(0, "selective search")
        for code in _COLOURS:
            planes = np.asarray(cv2.cvtColor(np.ascontiguousarray(shown), code), np.uint8)
            for scale in self.scales:
                ids = segmentation.felzenszwalb(planes, scale=scale, sigma=_SIGMA, min_size=scale)
                boxes = merged_boxes(np.asarray(ids, np.int64), planes)
                found.append(boxes)
                ranks.append(np.arange(len(boxes), 0, -1) * draw.random(len(boxes)))
        boxes = np.concatenate(found)[np.argsort(np.concatenate(ranks), kind="stable")]
        _, first = np.unique(boxes, axis=0, return_index=True)
        boxes = boxes[np.sort(first)]
        least = np.minimum(_LEAST, size)
        boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= least).all(axis=1)][: self.most]
        scaled: FloatArray = (boxes * np.tile((width / size[0], height / size[1]), 2)).astype(np.float32)
        return scaled


def merged_boxes(ids: IntArray, planes: ByteArray) -> IntArray:
    """Boxes [2 R - 1, 4] xyxy of the R segments of `ids` [H, W] (0 to R - 1) and of all that they become when the two
    neighbours that are most alike are merged again and again, in this order.

    Alike are colours and textures of `planes` [H, W, 3], and what is small, or fills the other's box.
    """
    count = int(ids.max()) + 1
    total = max(1, 2 * count - 1)
    areas, boxes = np.zeros(total), np.zeros((total, 4), np.int64)
    flat = ids.ravel()
    areas[:count] = np.bincount(flat, minlength=count)
    boxes[:count] = _boxes_of(ids, count)
    features = np.zeros((total, 3 * (_COLOUR_BINS + _ORIENTATIONS * _TEXTURE_BINS)), np.float32)
    features[:count] = _histograms(flat, planes, areas[:count])
    # A child of two regions has the neighbours of both.
    neighbours = _neighbours(ids, count) + [set() for _ in range(total - count)]
    heap: list[tuple[float, int, int]] = []

    def remember(one: int, others: list[int]) -> None:
        """How alike a region is with each of others."""
        rows = np.array(others, np.int64)
        shared = np.minimum(features[one], features[rows]).sum(axis=1) / 3
        corner, end = np.minimum(boxes[one, :2], boxes[rows, :2]), np.maximum(boxes[one, 2:], boxes[rows, 2:])
        both = areas[one] + areas[rows]
        alike = shared + 2 - (both + (end - corner).prod(axis=1) - both) / flat.size
        for other, value in zip(others, alike.tolist(), strict=True):
            heapq.heappush(heap, (-value, one, other))

    for one in range(count):
        nearby = [other for other in neighbours[one] if other > one]
        if nearby:
            remember(one, nearby)
    gone = np.zeros(total, np.bool_)
    new = count
    while heap and new < total:
        _, first, second = heapq.heappop(heap)
        if gone[first] or gone[second]:
            continue
        gone[first] = gone[second] = True
        areas[new] = areas[first] + areas[second]
        boxes[new, :2] = np.minimum(boxes[first, :2], boxes[second, :2])
        boxes[new, 2:] = np.maximum(boxes[first, 2:], boxes[second, 2:])
        features[new] = (areas[first] * features[first] + areas[second] * features[second]) / areas[new]
        around = (neighbours[first] | neighbours[second]) - {first, second}
        neighbours[new] = around
        for other in around:
            neighbours[other] -= {first, second}
            neighbours[other].add(new)
        if around:
            remember(new, sorted(around))
        new += 1
    return boxes[:new]


def _boxes_of(ids: IntArray, count: int) -> IntArray:
    ys, xs = np.indices(ids.shape)
    boxes = np.empty((count, 4), np.int64)
    for column, values, far in ((0, xs, False), (1, ys, False), (2, xs, True), (3, ys, True)):
        edge = np.zeros(count, np.int64) if far else np.full(count, ids.size, np.int64)
        (np.maximum if far else np.minimum).at(edge, ids.ravel(), values.ravel())
        boxes[:, column] = edge + far
    return boxes


def _neighbours(ids: IntArray, count: int) -> list[set[int]]:
    pairs = np.concatenate(
        [np.stack([a.ravel(), b.ravel()], axis=1) for a, b in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1]))]
    )
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    found: list[set[int]] = [set() for _ in range(count)]
    for one, other in pairs.tolist():
        found[one].add(other)
        found[other].add(one)
    return found


def _histograms(ids: IntArray, planes: ByteArray, areas: FloatArray) -> FloatArray:
    """[R, F]: of each segment the shares of its pixels in bins of colours, and of gradients in eight directions.

    Both make 3, one for each plane, so that they weigh alike.
    """
    count, parts = len(areas), []
    for plane in np.moveaxis(planes, 2, 0):
        parts.append(_counted(ids, plane.ravel().astype(np.int64) * _COLOUR_BINS // 256, _COLOUR_BINS, count))
        for steep in _gradients(plane):
            bins = np.minimum((steep * _TEXTURE_BINS).astype(np.int64), _TEXTURE_BINS - 1)
            parts.append(_counted(ids, bins.ravel(), _TEXTURE_BINS, count) / _ORIENTATIONS)
    shares: FloatArray = np.concatenate(parts, axis=1) / areas[:, None]
    return shares


def _counted(ids: IntArray, bins: IntArray, most: int, count: int) -> FloatArray:
    return np.bincount(ids * most + bins, minlength=count * most).reshape(count, most).astype(np.float64)


def _gradients(plane: Array) -> list[FloatArray]:
    """How steeply a plane rises in each of eight directions, as a share (0-1) of the steepest rise that it has."""
    smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    angles = np.arange(_ORIENTATIONS) * (2 * np.pi / _ORIENTATIONS)
    rises = [np.maximum(np.float32(np.cos(a)) * across + np.float32(np.sin(a)) * down, 0) for a in angles]
    steepest = max(float(rise.max()) for rise in rises)
    return [rise / np.float32(steepest or 1.0) for rise in rises]
