"""Panoptic maps that windows found, joined: one map, in which a thing has one number."""

from __future__ import annotations

from itertools import count

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.joining.grid import Grid, moved
from everymask.core.joining.large import large_of, pieces_of, same_as
from everymask.core.joining.seams import Piece, Seams
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment

_ROWS = 64


class JoinedSegments:
    """The segments of a picture, window by window: each window says what its own cell shows.

    Stuff of one class is one segment, and has at least `least` pixels; the same thing in several windows becomes one
    (see `Seams`), of the class that has most of its pixels, each counted as much as it is sure, and as sure as the
    surest of that. A thing that nobody else confirms is kept where most of it lies in its window's own cell, and then
    has what it has of the neighbours' cells too, where these show no thing; else it is for the neighbour to say. Memory
    is the map [H, W], uint16 while that holds the things of all windows, then int32, and, packed, things that leave
    their cells. Things larger than a window that a look at the whole picture found take the place of their pieces, and
    of stuff, unless windows saw the thing to its end.
    """

    def __init__(self, grid: Grid, labels: Labels, least: float = 0) -> None:
        self._grid, self._labels, self._least = grid, labels, least
        self._seams = Seams(grid, disjoint=True)
        # Stuff of class k is k + 1, things come behind all stuff; 0 is none.
        self._ids: IntArray = np.zeros(grid.size, np.uint16)
        self._order: dict[int, None] = {}
        self._things: list[Segment] = []
        self._large: InstanceSet | None = None

    def add(self, found: PanopticMap, row: int, column: int) -> None:
        """The segments of a window, in its frame."""
        window, cell = self._grid.window(row, column), self._grid.cell(row, column)
        things = [one for one in found.segments if one.class_id in self._labels.things]
        objects = PanopticMap(found.ids, tuple(things)).regions()
        assert objects.masks is not None
        self._seams.add(objects.class_ids, objects.masks, row, column)
        numbers = count(self._first + len(self._things))
        codes = [next(numbers) if one.class_id in self._labels.things else one.class_id + 1 for one in found.segments]
        self._things += things
        self._order |= dict.fromkeys(codes)
        self._hold(next(numbers))
        (left, top, right, bottom), (x1, y1, x2, y2) = moved(cell, *window[:2]), cell
        self._ids[y1:y2, x1:x2] = found.looked_up(codes, 0)[top:bottom, left:right]

    def add_whole(self, found: PanopticMap, size: tuple[int, int]) -> None:
        """The segments of the whole picture, in its frame when it is shrunk to `size` (h, w)."""
        things = tuple(one for one in found.segments if one.class_id in self._labels.things)
        self._large = large_of(PanopticMap(found.ids, things).regions(), self._grid, size)

    def finished(self) -> PanopticMap:
        """The map of the picture."""
        groups = self._seams.groups()
        there, counts = self._seams.kept(groups), np.bincount(groups, minlength=len(groups))
        leaving = [(number, piece) for number, piece in enumerate(self._seams.pieces) if piece is not None]
        for number, piece in leaving:
            if not there[number]:
                self._paint(piece, self._first + number, 0)
        for number, piece in leaving:
            if there[number] and counts[groups[number]] == 1:
                self._paint(piece, None, self._first + number)
        table: IntArray = np.concatenate([np.arange(self._first), self._first + groups]).astype(np.int32)
        pixels = self._replaced(table)
        table, pixels = self._with_large(groups, table, pixels)
        kept = [code for code in dict.fromkeys(table[list(self._order)].tolist()) if self._is_enough(code, pixels)]
        numbers = np.zeros(len(table), np.int32)
        numbers[kept] = np.arange(1, len(kept) + 1)
        self._replaced(numbers)
        members: dict[int, list[int]] = {}
        for number, code in enumerate(table[self._first : self._first + len(groups)].tolist()):
            members.setdefault(code, []).append(number)
        return PanopticMap(self._ids, tuple(self._segment(k, code, members) for k, code in enumerate(kept, 1)))

    @property
    def _first(self) -> int:
        """What stands for the first thing."""
        return len(self._labels) + 1

    def _hold(self, most: int) -> None:
        """Make the map hold numbers up to `most`."""
        if most > np.iinfo(self._ids.dtype).max:
            self._ids = self._ids.astype(np.int32)

    def _with_large(self, groups: IntArray, table: IntArray, pixels: IntArray) -> tuple[IntArray, IntArray]:
        """Paint large things, whose codes come behind those of all others; the table and the counts with them."""
        if self._large is None or not len(self._large):
            return table, pixels
        ended = np.ones(len(table), np.bool_)
        ended[self._first :] = self._seams.ended(groups)
        surest, scores = np.zeros(len(table)), self._large.scores
        np.maximum.at(surest, self._first + groups, [1 if one.score is None else one.score for one in self._things])
        assert self._large.masks is not None
        moved_to, codes = np.arange(len(table) + len(self._large), dtype=np.int32), len(table)
        areas = np.zeros(len(table), np.int64)
        areas[: len(pixels)] = pixels[: len(table)]
        self._hold(len(moved_to))
        for row in range(len(self._large)):
            x1, y1, x2, y2 = self._large.masks.windows[row].tolist()
            mask, part = self._large.masks.crop(row), self._ids[y1:y2, x1:x2]
            inside = np.zeros(len(table), np.int64)
            for top in range(0, len(mask), _ROWS):
                rows = slice(top, top + _ROWS)
                inside += np.bincount(part[rows][mask[rows]], minlength=len(moved_to))[: len(table)]
            inside[: self._first] = 0
            if same_as(inside, areas, ended, int(mask.sum())).any():
                continue
            pieces = pieces_of(inside, areas, ended) & (surest <= (1 if scores is None else scores[row]))
            moved_to[: len(table)][pieces & (moved_to[: len(table)] < codes)] = codes + row
            taken = np.ones(len(moved_to), np.bool_)
            taken[self._first :] = False
            taken[: len(table)] |= pieces
            for top in range(0, len(mask), _ROWS):
                rows = slice(top, top + _ROWS)
                part[rows][mask[rows] & taken[part[rows]]] = codes + row
        table = np.concatenate([moved_to[table], moved_to[codes:]])
        self._order |= dict.fromkeys(range(codes, len(table)))
        return table, self._replaced(moved_to)

    def _paint(self, piece: Piece, old: int | None, new: int) -> None:
        """Put `new` where the mask is, and there is `old` (None: no thing)."""
        mask, (x, y) = piece.mask(cut=False)
        x1, y1, x2, y2 = mask.windows[0].tolist()
        part = self._ids[y + y1 : y + y2, x + x1 : x + x2]
        part[mask.crop(0) & (part < self._first if old is None else part == old)] = new

    def _replaced(self, table: IntArray) -> IntArray:
        """Put `table[id]` in place of every id of the map; how often each occurs then."""
        counts = np.zeros(int(table.max(initial=0)) + 1, np.int64)
        for top in range(0, len(self._ids), _ROWS):
            rows = self._ids[top : top + _ROWS] = table[self._ids[top : top + _ROWS]]
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        return counts

    def _is_enough(self, code: int, pixels: IntArray) -> bool:
        return bool(pixels[code] >= (max(self._least, 1) if code < self._first else 1)) if code < len(pixels) else False

    def _segment(self, number: int, code: int, members: dict[int, list[int]]) -> Segment:
        """What `code` stands for, as a row of the table; `members` are the things that are one."""
        if code < self._first:
            return Segment(number, code - 1)
        if code >= self._first + len(self._things):
            assert self._large is not None
            one = self._large[code - self._first - len(self._things)]
            return Segment(number, int(one.class_ids[0]), None if one.scores is None else float(one.scores[0]))
        votes: dict[int, float] = {}
        surest: dict[int, float | None] = {}
        for member in members[code]:
            thing = self._things[member]
            sure = 1.0 if thing.score is None else thing.score
            votes[thing.class_id] = votes.get(thing.class_id, 0) + sure * self._seams.own[member]
            scores = [score for score in (surest.get(thing.class_id), thing.score) if score is not None]
            surest[thing.class_id] = max(scores, default=None)
        class_id = max(votes, key=votes.__getitem__)
        return Segment(number, class_id, surest[class_id])
