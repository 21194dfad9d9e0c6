"""What changed between two dates, drawn on both of them."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import ChangeMap, SemanticMap
from everymask.errors import DataError
from everymask.viz.draw import displayable, resized, scaled_size
from everymask.viz.frame import PAPER
from everymask.viz.semantic import draw_semantic

_ROWS = 256
_SEAM = 80
"""One of so many pixels of a picture's width is the width of the seam beside it."""


def draw_change(
    image: Array,
    change: ChangeMap,
    labels: Labels,
    *,
    before: Array | None = None,
    alpha: float = 0.45,
    legend: bool = True,
    side: int | None = None,
) -> ByteArray:
    """The earlier date, the later one with what changed tinted and outlined, and how far they differ, side by side.

    What was there is tinted in the earlier date too, where it is known. Without the earlier date `before` only the
    later `image` is drawn. Both are [H, W] or [H, W, C] as in `displayable`;
    the result is uint8 [H, w, 3]. The difference is grey: the mean over the channels of what the dates differ by, once
    the earlier has the later's mean and spread; what changed is outlined there too. `legend`, `alpha` and `side` (of
    each picture) are as in `draw_semantic`. `DataError` where map and pictures differ in size.
    """
    # What did not change stays as it is: no class is drawn there.
    shown = _changed(change.ids, labels)
    later = draw_semantic(image, shown, labels, alpha=alpha, legend=legend and before is None, side=side)
    if before is None:
        return later
    if before.shape[:2] != image.shape[:2]:
        raise DataError(f"the earlier date has {before.shape[:2]} (H, W), but the later {image.shape[:2]}")
    earlier = displayable(before)
    contrast = _difference(earlier, displayable(image))
    if side is not None:
        earlier = resized(earlier, scaled_size(earlier.shape[:2], side))
    if change.was is not None:
        earlier = draw_semantic(before, _changed(change.was, labels), labels, alpha=alpha, legend=False, side=side)
    outlined = draw_semantic(contrast, shown, labels, alpha=0.0, legend=legend, side=side)
    return _beside((earlier, later, outlined))


def _changed(ids: IntArray, labels: Labels) -> SemanticMap:
    """The map without the class of what did not change."""
    return SemanticMap(np.where(ids == 0, np.int64(labels.ignore), ids), ignore=labels.ignore)


def _difference(before: ByteArray, after: ByteArray) -> ByteArray:
    """How far two pictures [H, W, 3] differ, [H, W] uint8."""
    import cv2

    (first, spread), (second, wanted) = cv2.meanStdDev(before), cv2.meanStdDev(after)
    values = np.arange(256)
    table = (values - first) * (wanted / np.maximum(spread, 1.0)) + second
    table = table.T[:, None].astype(np.float32)
    grey = np.empty(before.shape[:2], np.uint8)
    for top in range(0, len(grey), _ROWS):
        rows = slice(top, top + _ROWS)
        apart = cv2.absdiff(cv2.LUT(before[rows], table), after[rows].astype(np.float32))
        grey[rows] = np.clip(cv2.transform(apart, np.full((1, 3), 1 / 3)), 0, 255).astype(np.uint8)
    return grey


def _beside(pictures: tuple[ByteArray, ...]) -> ByteArray:
    """Pictures uint8 [H, w, 3] in a row, with seams between them."""
    seam = max(2, pictures[0].shape[1] // _SEAM)
    height = max(len(picture) for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + seam * (len(pictures) - 1)
    page = np.empty((height, width, 3), np.uint8)
    page[:] = PAPER
    left = 0
    for picture in pictures:
        page[: len(picture), left : left + picture.shape[1]] = picture
        left += picture.shape[1] + seam
    return page
