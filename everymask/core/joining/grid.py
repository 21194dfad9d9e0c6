"""Windows over a large picture: what each sees, what is its own, and what it shares with its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from everymask.core.geometry import Size
from everymask.errors import ConfigError

Box: TypeAlias = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels of the picture, x2 and y2 exclusive."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A window along one axis: it sees pixels `start` to `stop`, and well `first` to `last`.

    What two neighbours both see well is from the `first` of the one behind to the `last` of the one before.
    """

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows over a picture of `size` (H, W): one for each pair of `rows` and `columns`.

    Every pixel is of the cell of one window: cells end in the middle of what both neighbours see well.
    `ConfigError` where neighbours have nothing in common.
    """

    size: Size
    rows: tuple[Stretch, ...]
    columns: tuple[Stretch, ...]

    def __post_init__(self) -> None:
        for stretches in (self.rows, self.columns):
            if any(before.last <= after.first for before, after in pairwise(stretches)):
                raise ConfigError(
                    "things are known again by what two tiles both see, but these tiles have nothing in common",
                    hint="choose larger tiles, or an overlap of 0.25",
                )

    def window(self, row: int, column: int) -> Box:
        """What a window sees."""
        return self.columns[column].start, self.rows[row].start, self.columns[column].stop, self.rows[row].stop

    def cell(self, row: int, column: int) -> Box:
        """What is a window's own."""
        (y1, y2), (x1, x2) = _own(self.rows, row, self.size[0]), _own(self.columns, column, self.size[1])
        return x1, y1, x2, y2

    def above(self, row: int, column: int) -> Box:
        """What a window and the one above it both see well."""
        left, _, right, _ = self.window(row, column)
        return left, self.rows[row].first, right, self.rows[row - 1].last

    def left(self, row: int, column: int) -> Box:
        """What a window and the one at its left both see well."""
        _, top, _, bottom = self.window(row, column)
        return self.columns[column].first, top, self.columns[column - 1].last, bottom


def moved(box: Box, x: int, y: int) -> Box:
    """The box in the frame of a picture whose corner is at `x`, `y`."""
    return box[0] - x, box[1] - y, box[2] - x, box[3] - y


def _own(stretches: Sequence[Stretch], place: int, length: int) -> tuple[int, int]:
    edges = [0, *((before.last + after.first) // 2 for before, after in pairwise(stretches)), length]
    return edges[place], edges[place + 1]
