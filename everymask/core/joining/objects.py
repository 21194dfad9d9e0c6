"""Objects that windows found, joined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.joining.grid import Grid
from everymask.core.joining.large import large_of, with_large
from everymask.core.joining.seams import Piece, Seams, shapes_of
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet


class JoinedObjects:
    """Objects of a picture, window by window; the same object in several windows becomes one (see `Seams`).

    Its mask is what each window saw of it in its own cell, its box holds theirs, and it is as sure as the surest of
    them. An object that nobody else confirms is kept whole where most of it lies in its window's own cell: else it is
    for the neighbour to say. Objects without masks are joined by their boxes. Memory grows with the objects. Objects
    larger than a window that a look at the whole picture found take the place of their pieces (see `with_large`).
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._seams = Seams(grid, disjoint=False)
        self._found: list[InstanceSet] = []
        self._outlined = True
        self._large: InstanceSet | None = None

    def add(self, found: InstanceSet, row: int, column: int) -> None:
        """The objects of a window, in its frame."""
        x1, y1, x2, y2 = self._grid.window(row, column)
        masks = shapes_of(found.boxes, (y2 - y1, x2 - x1)) if found.masks is None else found.masks
        self._outlined &= found.masks is not None
        self._seams.add(found.class_ids, masks, row, column)
        offset = np.array([x1, y1, x1, y1], np.float32)
        self._found.append(replace(found, boxes=found.boxes + offset, masks=None))

    def add_whole(self, found: InstanceSet, size: tuple[int, int]) -> None:
        """The objects of the whole picture, in its frame when it is shrunk to `size` (h, w)."""
        self._large = large_of(found, self._grid, size)

    def finished(self) -> InstanceSet:
        """The objects of the picture, the surest first."""
        groups = self._seams.groups()
        found, firsts = self._joined(groups)
        if self._large is None or not len(self._large):
            return found
        return with_large(found, self._seams.ended(groups)[firsts], self._large, self._grid.size)

    def _joined(self, groups: IntArray) -> tuple[InstanceSet, IntArray]:
        """What windows found, the surest first, and of each object the number of one of its parts."""
        boxes = np.concatenate([part.boxes for part in self._found])
        class_ids = np.concatenate([part.class_ids for part in self._found])
        scores = np.concatenate([_scores(part) for part in self._found])
        there = self._seams.kept(groups)
        order = np.argsort(groups, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
        kept = [rows for rows in members if there[rows[0]]]
        surest = np.array([scores[rows].max() for rows in kept], np.float32)
        first = np.argsort(-surest, kind="stable")
        kept = [kept[place] for place in first.tolist()]
        whole = np.array([_around(boxes[rows]) for rows in kept], np.float32).reshape(-1, 4)
        masks = None
        if self._outlined:
            pieces = self._seams.pieces
            crops = [_mask([piece for row in rows.tolist() if (piece := pieces[row])]) for rows in kept]
            corners = np.array([corner for _, corner in crops], np.int64).reshape(-1, 2)
            masks = Masks.from_crops([crop for crop, _ in crops], corners, self._grid.size)
        firsts = np.array([rows[0] for rows in kept], np.int64)
        return InstanceSet(whole, class_ids[firsts].astype(np.int64), surest[first], masks), firsts


def _mask(parts: list[Piece]) -> tuple[BoolArray, tuple[int, int]]:
    """What the windows saw of an object, and where its upper left pixel is (x, y)."""
    seen = [piece.mask(cut=len(parts) > 1) for piece in parts]
    places = [(mask.windows[0, :2] + corner, mask.crop(0)) for mask, corner in seen if mask.windows[0, 2]]
    if not places:
        return np.zeros((0, 0), np.bool_), (0, 0)
    left, top = np.min([place for place, _ in places], axis=0).tolist()
    right, bottom = np.max([place + crop.shape[::-1] for place, crop in places], axis=0).tolist()
    whole = np.zeros((bottom - top, right - left), np.bool_)
    for (x, y), crop in places:
        whole[y - top : y - top + len(crop), x - left : x - left + crop.shape[1]] |= crop
    return whole, (left, top)


def _scores(found: InstanceSet) -> FloatArray:
    return np.ones(len(found), np.float32) if found.scores is None else found.scores


def _around(boxes: FloatArray) -> FloatArray:
    """The box that holds all boxes [N, 4]."""
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
