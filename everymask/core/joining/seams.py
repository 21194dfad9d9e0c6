"""Which things of neighbouring windows are one: their masks are the same where both windows see well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.joining.grid import Box, Grid, moved
from everymask.core.masks import Masks

_SAME_IOU = 0.5
_NEAR = 64
_Couples: TypeAlias = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Things of a window, in the frame of what it shares with another: their numbers, classes and masks."""

    numbers: IntArray
    class_ids: IntArray
    masks: Masks

    def meeting(self, other: _Seen, *, disjoint: bool) -> tuple[_Couples, _Couples]:
        """The numbers of things of both that are one: with an IoU above one half, each other's best, and of one class
        unless things are `disjoint`; and of all that share a pixel.
        """
        if not len(self.numbers) or not len(other.numbers):
            return [], []
        overlaps = self.masks.iou(other.masks)
        ones, others = np.nonzero(overlaps)
        touching = list(zip(self.numbers[ones].tolist(), other.numbers[others].tolist(), strict=True))
        if not disjoint:
            overlaps[self.class_ids[:, None] != other.class_ids] = 0
        best, back = overlaps.argmax(axis=1), overlaps.argmax(axis=0)
        rows = np.arange(len(best))
        chosen = rows[(overlaps[rows, best] > _SAME_IOU) & (back[best] == rows)]
        same = list(zip(self.numbers[chosen].tolist(), other.numbers[best[chosen]].tolist(), strict=True))
        return same, touching


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A thing as one window sees it: its mask in the window's frame, packed, and where window and cell are."""

    packed: bytes
    window: Box
    cell: Box

    def mask(self, *, cut: bool) -> tuple[Masks, tuple[int, int]]:
        """Its mask, or what of it is in the cell where it is to be `cut`; where that begins in the picture (x, y)."""
        x1, y1, x2, y2 = self.window
        mask = Masks.from_rle([self.packed], (y2 - y1, x2 - x1))
        return (mask.cut(moved(self.cell, x1, y1)), self.cell[:2]) if cut else (mask, (x1, y1))


class Seams:
    """Numbers the things of all windows, which come row by row, and knows which are one thing.

    Two things of one class are one where their masks have an IoU above one half in what two neighbouring windows both
    see well; what is the same as a third is the same. Where the things of a window are `disjoint`, those of two classes
    are one as well: a pixel has one thing, of whose class windows are not always as sure.

    Of the windows only what they share with those to come is kept, and, packed, the `pieces` [N] that things are: None
    of disjoint ones that do not leave their cells, whose map says where they are. `own` [N] are their pixels there.
    """

    def __init__(self, grid: Grid, *, disjoint: bool) -> None:
        self._grid, self._disjoint = grid, disjoint
        self.pieces: list[Piece | None] = []
        self._parents: list[int] = []
        self._areas: list[int] = []
        self.own: list[int] = []
        self._sides: dict[tuple[int, int], _Seen] = {}
        self._below: dict[tuple[int, int], _Seen] = {}
        self._touching: _Couples = []
        self._cut: list[bool] = []
        self._boxes: list[IntArray] = []
        self._windows: list[IntArray] = []

    def add(self, class_ids: IntArray, masks: Masks, row: int, column: int) -> None:
        """The things of a window, whose masks are in its frame."""
        numbers = np.arange(len(class_ids)) + len(self._parents)
        self._parents += numbers.tolist()
        self._pack(masks, row, column)
        grid, (x, y, _, _) = self._grid, self._grid.window(row, column)

        def seen(part: Box) -> _Seen:
            cut = masks.cut(moved(part, x, y))
            there = np.flatnonzero(cut.windows[:, 2])
            return _Seen(numbers[there], class_ids[there], cut[there])

        if column:
            self._join(self._sides.pop((row, column)), seen(grid.left(row, column)))
        if row:
            self._join(self._below.pop((row, column)), seen(grid.above(row, column)))
        if column + 1 < len(grid.columns):
            self._sides[row, column + 1] = seen(grid.left(row, column + 1))
        if row + 1 < len(grid.rows):
            self._below[row + 1, column] = seen(grid.above(row + 1, column))

    def _pack(self, masks: Masks, row: int, column: int) -> None:
        window, cell = self._grid.window(row, column), self._grid.cell(row, column)
        areas, own = masks.areas(), masks.cut(moved(cell, *window[:2])).areas()
        packed = [Piece(counts, window, cell) for counts in masks.to_rle()]
        leaves = own < areas if self._disjoint else np.ones(len(own), np.bool_)
        self.pieces += [piece if kept else None for piece, kept in zip(packed, leaves.tolist(), strict=True)]
        self._areas += areas.tolist()
        (x1, y1, x2, y2), (height, width) = window, self._grid.size
        ends = np.array([x1 > 0, y1 > 0, x2 < width, y2 < height])
        reached = np.concatenate([masks.windows[:, :2] <= 0, masks.windows[:, 2:] >= (x2 - x1, y2 - y1)], axis=1)
        self._cut += (reached & ends).any(axis=1).tolist()
        self.own += own.tolist()
        self._boxes.append(masks.windows + np.array([x1, y1, x1, y1], np.int64))
        self._windows.append(np.tile(np.array(window, np.int64), (len(own), 1)))

    def groups(self) -> IntArray:
        """[N]: of each thing the lowest number of those that are the same."""
        return np.array([_root(self._parents, number) for number in range(len(self._parents))], np.int64)

    def kept(self, groups: IntArray) -> BoolArray:
        """[N]: whether a thing is there at all, alone or with those of its group.

        What windows saw of it beyond their cells must not be most of it: else it is for their neighbours to say. Where
        neighbours saw something there that is left to others in turn, as windows may that do not agree over the class
        or the place of a thing at their seam, that with the largest share in its own cell stays, if its window does not
        cut it off.
        """
        own = np.bincount(groups, self.own, minlength=len(groups))
        largest = np.zeros(len(groups), np.int64)
        np.maximum.at(largest, groups, self._areas)
        there: BoolArray = (2 * own > largest) | (largest == 0)
        shares = own / np.maximum(largest, 1)
        cut = np.bincount(groups, self._cut, minlength=len(groups)) > 0
        for cluster in self._clusters(groups):
            whole = [number for number in cluster if not cut[number]]
            if whole and not there[cluster].any():
                there[max(whole, key=shares.__getitem__)] = True
        return there[groups]

    def ended(self, groups: IntArray) -> BoolArray:
        """[N]: whether windows saw a thing to its end: where one cuts it off, another saw more of its group.

        A thing is cut off that comes within 1/64 of a window's side to an edge of it that is none of the picture's:
        detectors seldom reach the very edge.
        """
        empty = np.zeros((0, 4), np.int64)
        boxes, windows = (np.concatenate([empty, *parts]) for parts in (self._boxes, self._windows))
        low, high, (height, width) = boxes[:, :2].copy(), boxes[:, 2:].copy(), self._grid.size
        np.minimum.at(low, groups, boxes[:, :2])
        np.maximum.at(high, groups, boxes[:, 2:])
        near = (windows[:, 2:] - windows[:, :2]) // _NEAR
        before = (windows[:, :2] > 0) & (boxes[:, :2] <= windows[:, :2] + near) & (low[groups] >= windows[:, :2])
        behind = windows[:, 2:] < (width, height)
        behind &= (boxes[:, 2:] >= windows[:, 2:] - near) & (high[groups] <= windows[:, 2:])
        goes_on = np.bincount(groups, (before | behind).any(axis=1), minlength=len(groups)) > 0
        seen: BoolArray = ~goes_on[groups]
        return seen

    def _clusters(self, groups: IntArray) -> list[list[int]]:
        """The groups that windows saw at one place, two or more of them: those that share pixels, directly or not."""
        parents = list(range(len(groups)))
        for pair in self._touching:
            low, high = sorted(_root(parents, int(groups[number])) for number in pair)
            parents[high] = low
        clusters: dict[int, list[int]] = {}
        for number in sorted({int(groups[number]) for pair in self._touching for number in pair}):
            clusters.setdefault(_root(parents, number), []).append(number)
        return [cluster for cluster in clusters.values() if len(cluster) > 1]

    def _join(self, before: _Seen, after: _Seen) -> None:
        same, touching = before.meeting(after, disjoint=self._disjoint)
        self._touching += touching
        for one, other in same:
            low, high = sorted((_root(self._parents, one), _root(self._parents, other)))
            self._parents[high] = low


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = number = parents[parents[number]]
    return number


def shapes_of(boxes: FloatArray, size: tuple[int, int]) -> Masks:
    """Boxes [N, 4] xyxy as masks of a picture of `size` (H, W), for things that have none."""
    height, width = size
    corners = np.clip(np.rint(boxes), 0, (width, height, width, height)).astype(np.int64)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    return Masks.from_crops([np.ones((tall, wide), np.bool_) for wide, tall in sides.tolist()], corners[:, :2], size)
