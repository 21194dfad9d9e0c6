"""Many boxes of a picture at once, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.infer.prompted.session import Session

_AT_ONCE = 64


def outline_boxes(session: Session, boxes: FloatArray) -> InstanceSet:
    """An object for each box [N, 4] xyxy in pixels of the session's picture, which then begins anew.

    As many boxes as there are need the memory of 64. `ConfigError` for boxes that cannot be meant.
    """
    parts = [InstanceSet.empty(session.size, scored=True)]
    for first in range(0, len(boxes), _AT_ONCE):
        parts.append(session.predict(boxes=boxes[first : first + _AT_ONCE]).instances)
        session.reset()
    return joined(parts)


def within(boxes: FloatArray, size: tuple[int, int]) -> tuple[FloatArray, BoolArray]:
    """Boxes [N, 4] xyxy cut to a picture of `size` (height, width), and which of them [N] still have an area."""
    cut = np.clip(boxes, 0, np.array(size[::-1] * 2, np.float32))
    return cut, np.asarray((cut[:, 2:] > cut[:, :2]).all(axis=1))


def joined(parts: Iterable[InstanceSet]) -> InstanceSet:
    """The objects of all parts, each of which has masks and scores, in one class."""
    parts = tuple(parts)
    masks = Masks.concatenate([part.masks for part in parts if part.masks is not None])
    scores = np.concatenate([part.scores for part in parts if part.scores is not None])
    return InstanceSet(masks.boxes(), np.zeros(len(masks), np.int64), scores, masks)
