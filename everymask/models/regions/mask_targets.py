"""What the mask head is trained towards, computed from compact masks."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.interpolation import linear_weights
from everymask.core.masks import Masks


def mask_targets(masks: Masks, rows: IntArray, boxes: FloatArray, side: int) -> FloatArray:
    """Mean coverage [N, side, side] in 0-1 of mask `rows[i]` under each cell of box `boxes[i]` (xyxy, [N, 4]).

    Equals RoIAlign (no half-pixel shift, as many samples per cell as it has pixels) of the full-size masks, which is
    what torchvision trains towards. RoIAlign of one plane is separable: two small matrix products per box, and only
    the mask's own window is touched.
    """
    height, width = masks.size
    targets = np.zeros((len(rows), side, side), np.float32)
    for target, row, (x1, y1, x2, y2) in zip(targets, rows, boxes.tolist(), strict=True):
        left, top, right, bottom = masks.windows[row].tolist()
        if right <= left or bottom <= top:
            continue
        across = _cell_weights(x1, x2, side, width, left, right)
        down = _cell_weights(y1, y2, side, height, top, bottom)
        target[:] = down @ masks.crop(int(row)).astype(np.float32) @ across.T
    return targets


def point_targets(masks: Masks, rows: IntArray, boxes: FloatArray, points: FloatArray) -> FloatArray:
    """[N, P]: 1 where mask `rows[i]` covers a point of `points[i]` [P, 2] (xy in 0-1 of `boxes[i]`, xyxy), else 0."""
    targets = np.zeros(points.shape[:2], np.float32)
    for target, row, (x1, y1, x2, y2), own in zip(targets, rows, boxes.tolist(), points, strict=True):
        left, top, right, bottom = masks.windows[row].tolist()
        if right <= left or bottom <= top:
            continue
        xs = np.floor(x1 + own[:, 0] * (x2 - x1)).astype(np.int64) - left
        ys = np.floor(y1 + own[:, 1] * (y2 - y1)).astype(np.int64) - top
        inside = (xs >= 0) & (xs < right - left) & (ys >= 0) & (ys < bottom - top)
        target[inside] = masks.crop(int(row))[ys[inside], xs[inside]]
    return targets


def _cell_weights(start: float, stop: float, cells: int, length: int, first: int, last: int) -> FloatArray:
    """[cells, last - first]: how much each pixel of the window counts in each cell along one axis."""
    extent = max(stop - start, 1.0)
    samples = int(np.ceil(extent / cells))
    positions = start + (np.arange(cells * samples, dtype=np.float64) + 0.5) * (extent / (cells * samples))
    weights = linear_weights(positions, length, first, last)
    return weights.reshape(cells, samples, last - first).mean(axis=1)
