"""What many closed rings measure, all at once: what they enclose, how long they are, and how many pixels they fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.forms.polygons import fifths_of, passages


def ring_areas(rings: Sequence[FloatArray]) -> FloatArray:
    """What each closed ring [K, 2] encloses, in pixels, by the shoelace formula."""
    points, counts, starts = _together(rings)
    points = points - np.repeat(points[starts], counts, axis=0)  # nearby numbers lose fewer digits
    after = points[_followers(counts, starts)]
    doubled = points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]
    found: FloatArray = np.abs(np.add.reduceat(doubled, starts)) / 2
    return found


def ring_lengths(rings: Sequence[FloatArray]) -> FloatArray:
    """How long the way around each closed ring [K, 2] is, in pixels."""
    points, counts, starts = _together(rings)
    steps = points[_followers(counts, starts)] - points
    found: FloatArray = np.add.reduceat(np.sqrt((steps * steps).sum(axis=1)), starts)
    return found


def ring_pixels(rings: Sequence[FloatArray], sizes: IntArray) -> IntArray:
    """How many pixels each closed ring [K, 2] fills by COCO's rule in its picture; `sizes` [N, 2] are (H, W)."""
    points, counts, starts = _together(rings)
    fifths = fifths_of(points)
    owners = np.repeat(np.arange(len(counts)), counts)
    height, width = sizes[owners].T
    positions, edges = passages(fifths, fifths[_followers(counts, starts)], height, width)
    # Every ring passes each column an even number of times, so that pairs do not mix rings.
    ordered = np.lexsort((positions, owners[edges]))
    begins, ends = ordered[0::2], ordered[1::2]
    filled = positions[ends] - positions[begins]
    found: IntArray = np.bincount(owners[edges][begins], filled, minlength=len(counts)).astype(np.int64)
    return found


def _together(rings: Sequence[FloatArray]) -> tuple[FloatArray, IntArray, IntArray]:
    """All points [P, 2], how many each ring has, and where its first one is; at least one ring, none without points."""
    counts = np.array([len(ring) for ring in rings])
    return np.concatenate(rings).astype(np.float64, copy=False), counts, np.cumsum(counts) - counts


def _followers(counts: IntArray, starts: IntArray) -> IntArray:
    """For each point the place of the next one on its ring."""
    found = np.arange(1, int(counts.sum()) + 1)
    found[starts + counts - 1] = starts
    return found
