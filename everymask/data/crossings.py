"""Outlines that cross themselves, as a slip of the hand draws them: found for many outlines at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray

MAX_POINTS = 4_000
"""Longer rings are not looked at: a zigzag of so many points takes seconds."""
_EDGES = 50_000  # looked at together
_PAIRS = 1_000_000  # compared together


def crossing_rings(rings: Iterable[FloatArray]) -> Iterator[bool]:
    """For each closed ring [K, 2], whether two of its edges cross in a point that belongs to neither's ends.

    Edges that only touch do not cross, nor do bridges to holes and other parts, which a ring walks there and back.
    Edges are sorted by their left ends, and each is compared with those that begin before it ends (Shamos and Hoey's
    sweep, without its tree). False for rings of more than `MAX_POINTS`.
    """
    remaining = iter(rings)
    while batch := list(_batch(remaining)):
        yield from _crossing(batch).tolist()


def _batch(rings: Iterator[FloatArray]) -> Iterator[FloatArray]:
    edges = 0
    for ring in rings:
        kept = ring if len(ring) <= MAX_POINTS else ring[:1]
        edges += len(kept)
        yield kept
        if edges >= _EDGES:
            return


def _crossing(rings: list[FloatArray]) -> BoolArray:
    """As `crossing_rings`, for rings whose edges fit into memory together."""
    counts = np.array([len(ring) for ring in rings])
    ends = np.cumsum(counts)
    starts = np.concatenate(rings)
    followers = np.arange(1, len(starts) + 1)
    followers[ends - 1] = ends - counts
    stops = starts[followers]
    crossing = _crossing_edges(starts, stops, counts)
    for row in np.flatnonzero(crossing).tolist():
        edges = slice(ends[row] - counts[row], ends[row])
        single = ~_are_bridges(starts[edges], stops[edges])
        if not single.all():
            left = np.array([single.sum()])
            crossing[row] = left[0] and _crossing_edges(starts[edges][single], stops[edges][single], left)[0]
    return crossing


def _are_bridges(starts: FloatArray, stops: FloatArray) -> BoolArray:
    """Which edges of a ring it walks in the other direction too."""
    edges = [(*start, *stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    known = set(edges)
    return np.array([(x2, y2, x1, y1) in known for x1, y1, x2, y2 in edges], np.bool_)


def _crossing_edges(starts: FloatArray, stops: FloatArray, counts: IntArray) -> BoolArray:
    """Whether edges cross that belong to one group; `counts` tells how many edges each group has, one after another."""
    owners, firsts = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts) - counts
    left, right = np.minimum(starts[:, 0], stops[:, 0]), np.maximum(starts[:, 0], stops[:, 0])
    # Groups stand side by side on one axis: an edge of one never begins before an edge of another ends.
    low, high = np.minimum.reduceat(left, firsts), np.maximum.reduceat(right, firsts)
    widths = high - low + 1
    shift = (np.cumsum(widths) - widths - low)[owners]
    order = np.argsort(left + shift, kind="stable")
    last = np.searchsorted((left + shift)[order], (right + shift)[order])
    crossing = np.zeros(len(counts), np.bool_)
    for first, second in _pairs(last):
        one, other = order[first], order[second]
        found = _cross(starts[one], stops[one], starts[other], stops[other])
        crossing[owners[one[found]]] = True
    return crossing


def _pairs(last: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """The pairs (i, j) with i < j < last[i], a million at a time."""
    rows = np.arange(len(last))
    widths = np.maximum(last - rows - 1, 0)
    totals = np.cumsum(widths)
    begin = 0
    while begin < len(last):
        done = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, done + _PAIRS, side="right")))
        width = widths[begin:end]
        first = np.repeat(rows[begin:end], width)
        inside = np.arange(len(first)) - np.repeat(np.cumsum(width) - width, width)
        yield first, first + 1 + inside
        begin = end


def _cross(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> IntArray:
    """The rows in which the segments a-b and c-d [N, 2] cross between their ends."""
    overlap = (np.minimum(a[:, 1], b[:, 1]) < np.maximum(c[:, 1], d[:, 1])) & (
        np.minimum(c[:, 1], d[:, 1]) < np.maximum(a[:, 1], b[:, 1])
    )
    rows = np.flatnonzero(overlap)
    a, b, c, d = a[rows], b[rows], c[rows], d[rows]
    apart = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
    return rows[apart]


def _side(a: FloatArray, b: FloatArray, point: FloatArray) -> FloatArray:
    """On which side of a-b the points lie: -1, 0 or 1."""
    (ux, uy), (vx, vy) = (b - a).T, (point - a).T
    side: FloatArray = np.sign(ux * vy - uy * vx)
    return side
