"""How alike two masks are: their regions, and their contours (Perazzi et al. 2016, "DAVIS")."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import BoolArray, ByteArray

TOLERANCE = 0.008
"""How far contours may lie apart, as a share of the picture's diagonal."""


def region_similarity(found: BoolArray, truth: BoolArray) -> float:
    """J, the IoU of two masks [H, W]; 1 where both are empty."""
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0


def contour_accuracy(found: BoolArray, truth: BoolArray, tolerance: float = TOLERANCE) -> float:
    """F: the harmonic mean of how much of the found contour lies near the true one, and the other way round.

    Near is within a disk whose radius is `tolerance` times the diagonal of the masks [H, W], rounded up. 1 where both
    are empty, 0 where one is. As in davis2017-evaluation.
    """
    contours = contour(found), contour(truth)
    counts = [np.count_nonzero(each) for each in contours]
    if not all(counts):
        return float(counts[0] == counts[1])
    near = _disk(int(np.ceil(tolerance * np.hypot(*truth.shape))))
    precision, recall = (
        np.count_nonzero(mine & _grown(other, near)) / count
        for mine, other, count in zip(contours, reversed(contours), counts, strict=True)
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: BoolArray) -> BoolArray:
    """The pixels [H, W] of a mask or beside it from which the next one to the right, below, or both differs.

    In the last row and column only the neighbour within it counts; the last corner is none.
    """
    found = np.zeros_like(mask, np.bool_)
    found[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    found[:-1] |= mask[:-1] ^ mask[1:]
    found[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return found


def _grown(mask: BoolArray, shape: ByteArray) -> BoolArray:
    import cv2

    return np.asarray(cv2.dilate(mask.view(np.uint8), shape)).view(np.bool_)


def _disk(radius: int) -> ByteArray:
    """The pixels whose middles lie within a circle, [2 radius + 1, 2 radius + 1]."""
    across, down = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(across**2 + down**2 <= radius**2, np.uint8)
