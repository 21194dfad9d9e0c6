"""Objects that were found as whole masks, and are only to be brought to the size of the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from everymask.core.segmentation import InstanceSet
from everymask.infer.decoding.duplicates import without_duplicates
from everymask.infer.decoding.outputs import SemanticArrays, Wanted


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """The objects of each picture of a batch, in the network's frame without its padding, the surest first.

    There are at most `most` of them, so that where there are as many some may be missing.
    """

    pictures: tuple[InstanceSet, ...]
    most: int

    def segmentation(self, index: int, wanted: Wanted) -> InstanceSet:
        """The objects of a picture, at its original size."""
        found, size = self.pictures[index], wanted.placements[index].original
        if found.masks is not None and found.masks.size != size:
            masks = found.masks.resize(size)
            found = replace(found, masks=masks, boxes=masks.boxes())
            found = found[np.flatnonzero(masks.areas())]
        return without_duplicates(found, wanted.duplicate_iou)

    def cut_below(self, index: int) -> float | None:
        """The score of the least sure object where there are as many as there may be."""
        scores = self.pictures[index].scores
        return float(scores[-1]) if scores is not None and 0 < self.most <= len(scores) else None

    def planes(self) -> SemanticArrays:
        """There are none."""
        raise TypeError("a method that finds objects has no answer for every pixel")
