"""Truth that says what changed between two dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import ChangeMap
from everymask.data.coding import LabelCoding
from everymask.data.painting import Painting

CHANGE = Labels(("unchanged", "changed"), ((0, 0, 0), (230, 25, 75)))
"""The classes where only that something changed is known. The first one of any is what did not."""


@dataclass(frozen=True, slots=True)
class ChangeCoding:
    """What changed is stored, or painted of objects, as `maps` says: as classes are in a label map.

    `both` says that there is a label of each date, of what was there and of what is.
    """

    maps: LabelCoding | Painting
    both: bool = False

    @property
    def stored(self) -> list[Any]:
        """How changes are stored, as JSON."""
        return ["change", self.maps.stored, *(["both"] if self.both else [])]

    def sentence(self, labels: Labels) -> str:
        """What the files hold, for logs and tables."""
        which = ", what was and what is there" if self.both else ""
        return f"changes between two dates{which}; {self.maps.sentence(labels)}"


def both_dates(was: IntArray, now: IntArray, ignore: int) -> ChangeMap:
    """The change that labels [H, W] of both dates tell of, in which 0 is what did not change.

    There is no truth where one of the two has none, or says that something changed and the other that nothing did.
    """
    unknown = disagreeing(was, now) | (was == ignore) | (now == ignore)
    return ChangeMap(np.where(unknown, ignore, now), ignore=ignore, was=np.where(unknown, ignore, was))


def disagreeing(was: IntArray, now: IntArray) -> BoolArray:
    """Where one of the labels of both dates is 0, which is no change, and the other is not."""
    apart: BoolArray = (was == 0) != (now == 0)
    return apart
