"""Label maps painted from objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError, printable

_BACKGROUND = ("background", "_background_")


@dataclass(frozen=True, slots=True)
class Painting:
    """How objects become label maps: class `k` of the objects is `classes[k]` there, and the rest is `background`."""

    classes: tuple[int, ...]
    background: int

    @property
    def stored(self) -> list[Any]:
        """How classes are stored, as JSON."""
        return ["painted", [*self.classes], self.background]

    def sentence(self, labels: Labels) -> str:
        """What the label maps hold, for logs and tables."""
        rest = printable(labels.names[self.background], 40)
        how = "smaller ones over larger ones, crowds without truth"
        return f"label maps are painted from objects, {how}; the rest is {rest}"


def painting_of(labels: Labels) -> tuple[Labels, Painting]:
    """The classes of label maps painted from objects of classes `labels`, and how they are painted.

    The first class is the background, unless one of the objects' classes is called so already.
    """
    for name, known in enumerate(labels.names):
        if known.lower() in _BACKGROUND:
            return labels, Painting(tuple(range(len(labels))), name)
    painted = Labels(("background", *labels.names), ((0, 0, 0), *labels.colours))
    return painted, Painting(tuple(range(1, len(labels) + 1)), 0)


def paint(objects: InstanceSet, ignored: Masks, painting: Painting, ignore: int, size: tuple[int, int]) -> IntArray:
    """The class ids [H, W] of a picture of `size` (H, W) with these objects, uint8, or uint16 where `ignore` needs it.

    A smaller object hides a larger one, and of two of one size the first is hidden. `ignore` stands where a crowd is
    and no object, and in the regions `ignored`, which hide and are hidden as objects are. `DataError` for objects
    without masks.
    """
    if objects.masks is None:
        raise DataError("objects without masks cannot be painted", hint="label maps need outlines or masks")
    masks = Masks.concatenate([objects.masks, ignored]) if len(ignored) else objects.masks
    crowd = np.zeros(len(objects), np.bool_) if objects.crowd is None else objects.crowd
    classes = np.array(painting.classes, np.int64)[objects.class_ids]
    names = np.append(np.where(crowd, ignore, classes), np.full(len(ignored), ignore))
    below = np.append(crowd, np.zeros(len(ignored), np.bool_))
    ids: IntArray = np.full(size, painting.background, np.min_scalar_type(ignore))
    _lay(ids, masks, names, below)
    return ids


def visible(masks: Masks) -> Masks:
    """What is seen of each mask where a smaller one hides a larger one, and of two of one size the first is hidden.

    The same masks where none overlap.
    """
    numbers = np.arange(1, len(masks) + 1)
    ids: IntArray = np.zeros(masks.size, np.int32)
    lay(ids, masks, numbers)
    return masks if np.count_nonzero(ids) == masks.areas().sum() else Masks.from_ids(ids, numbers)


def lay(ids: IntArray, masks: Masks, names: IntArray) -> None:
    """Write the name of each mask into `ids` [H, W] where it is, those of larger masks first."""
    _lay(ids, masks, names, np.zeros(len(masks), np.bool_))


def _lay(ids: IntArray, masks: Masks, names: IntArray, below: BoolArray) -> None:
    """Write the name of each mask into `ids` where it is: those that lie `below` first, then the larger ones."""
    for row in np.lexsort((-masks.areas(), ~below)).tolist():
        x1, y1, x2, y2 = masks.windows[row].tolist()
        ids[y1:y2, x1:x2][masks.crop(row)] = names[row]
