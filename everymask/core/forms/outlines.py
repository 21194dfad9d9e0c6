"""Many polygons -> masks in one go: for pictures in which no pixel has to be another program's.

A pixel belongs to a ring if its centre lies inside, even-odd. COCO's own rule, which `Masks.from_polygons` follows bit
for bit, rounds corners to fifths of a pixel first; the two differ in single pixels along the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.masks import Masks

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outlines:
    """N objects outlined by rings, in one array.

    `points` [P, 2] float64 xy, ring after ring; ring `k` is `points[starts[k] : starts[k + 1]]` (`starts` [R + 1]
    int64) and belongs to object `owners[k]` ([R] int64, rising, every object at least once).
    """

    points: FloatArray
    starts: IntArray
    owners: IntArray

    def __len__(self) -> int:
        return int(self.owners[-1]) + 1 if len(self.owners) else 0

    def __getitem__(self, rows: BoolArray) -> Outlines:
        """The objects for which `rows` [N] is True."""
        if rows.all():
            return self
        rings = rows[self.owners]
        counts = np.diff(self.starts)
        starts = np.concatenate(([0], np.cumsum(counts[rings])))
        return Outlines(self.points[np.repeat(rings, counts)], starts, (np.cumsum(rows) - 1)[self.owners[rings]])

    def boxes(self) -> FloatArray:
        """The extent of each object's corners, [N, 4] float64 xyxy."""
        if not len(self):
            return np.zeros((0, 4))
        first = self.starts[:-1][np.flatnonzero(np.diff(self.owners, prepend=-1))]
        return np.hstack((np.minimum.reduceat(self.points, first), np.maximum.reduceat(self.points, first)))

    def areas(self) -> FloatArray:
        """What the rings of each object enclose, [N] float64; where rings of one object overlap it counts twice."""
        if not len(self):
            return np.zeros(0)
        (x1, y1), (x2, y2) = self.points.T, self.points[self._followers()].T
        rings = np.abs(np.add.reduceat(x1 * y2 - x2 * y1, self.starts[:-1])) / 2
        areas: FloatArray = np.bincount(self.owners, rings, len(self)).astype(np.float64)
        return areas

    def moved(self, offset: tuple[float, float], factor: tuple[float, float]) -> Outlines:
        """The outlines after taking off `offset` (x, y) and multiplying by `factor` (x, y)."""
        return Outlines((self.points - offset) * factor, self.starts, self.owners)

    def draw(self, size: Size) -> Masks:
        """The masks in a picture of `size` (H, W), one per object: the union of its rings."""
        width = size[1]
        begins, ends = self._spans(size)
        objects = begins // (size[0] * (width + 1))
        windows, starts = np.zeros((len(self), 4), np.int64), np.zeros(len(self) + 1, np.int64)
        if not len(begins):
            return Masks(size, windows.astype(np.int32), np.zeros(0, np.bool_), starts)
        y, x1 = np.divmod(begins - objects * (size[0] * (width + 1)), width + 1)
        x2 = x1 + (ends - begins)
        first = np.flatnonzero(np.diff(objects, prepend=-1))
        last = np.append(first[1:], len(objects)) - 1
        drawn = objects[first]
        windows[drawn, 0], windows[drawn, 1] = np.minimum.reduceat(x1, first), y[first]
        windows[drawn, 2], windows[drawn, 3] = np.maximum.reduceat(x2, first), y[last] + 1
        wide = windows[:, 2] - windows[:, 0]
        np.cumsum(wide * (windows[:, 3] - windows[:, 1]), out=starts[1:])
        at = (starts[:-1] - windows[:, 1] * wide - windows[:, 0])[objects] + y * wide[objects] + x1
        edges = np.empty(2 * len(at) + 2, np.int64)
        edges[0], edges[1:-1:2], edges[2:-1:2], edges[-1] = 0, at, at + (x2 - x1), starts[-1]
        inside = np.zeros(2 * len(at) + 1, np.bool_)
        inside[1::2] = True
        return Masks(size, windows.astype(np.int32), np.repeat(inside, np.diff(edges)), starts)

    def _followers(self) -> IntArray:
        """For each corner the one that follows on its ring."""
        after = np.arange(1, len(self.points) + 1)
        after[self.starts[1:] - 1] = self.starts[:-1]
        return after

    def _spans(self, size: Size) -> tuple[IntArray, IntArray]:
        """Runs of pixels along rows: begins and ends as sorted numbers (object * H + y) * (W + 1) + x."""
        height, width = size
        x, y = self.points.T
        after = self._followers()
        # An edge passes the centres of the rows from `low` up to `high`, exclusive.
        rows = np.clip(np.ceil(y - 0.5), 0, height).astype(np.int64)
        low, high = np.minimum(rows, rows[after]), np.maximum(rows, rows[after])
        counts = high - low
        edge = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(len(edge)) + (low - np.cumsum(counts) + counts)[edge]
        rise = y[after] - y
        slope = (x[after] - x) / np.where(rise == 0, 1, rise)
        column = np.clip(np.ceil(x[edge] + (row + 0.5 - y[edge]) * slope[edge] - 0.5), 0, width)
        rings = np.repeat(np.arange(len(self.owners)), np.diff(self.starts))
        passages = np.sort((rings[edge] * height + row) * (width + 1) + column.astype(np.int64))
        begins, ends = passages[0::2], passages[1::2]
        filled = ends > begins
        begins, ends = begins[filled], ends[filled]
        if len(self.owners) == len(self):
            return begins, ends
        return self._united(begins, ends, height * (width + 1))

    def _united(self, begins: IntArray, ends: IntArray, area: int) -> tuple[IntArray, IntArray]:
        """The same with the object's number in place of the ring's, and what overlaps made one."""
        shift = (np.arange(len(self.owners)) - self.owners)[begins // area] * area
        begins, ends = np.sort(begins - shift), np.sort(ends - shift)
        apart = begins[1:] > ends[:-1]
        return begins[np.append(True, apart)[: len(begins)]], ends[np.append(apart, True)[: len(ends)]]
