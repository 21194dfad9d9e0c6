"""Things larger than a window: a look at the whole picture, shrunk, sees them at once, and windows only in pieces."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.geometry import Warp
from everymask.core.joining.grid import Grid
from everymask.core.joining.seams import shapes_of
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet

_PART = 0.5
_SAME_IOU = 0.5
_SURE = 0.5


def large_of(found: InstanceSet, grid: Grid, size: tuple[int, int]) -> InstanceSet:
    """The objects in the frame of the picture that are wider or taller than a window; `found` is in that of the picture
    shrunk to `size` (h, w).
    """
    warp = Warp.scale(size, grid.size)
    sides = warp.boxes(found.boxes).reshape(-1, 2, 2)
    x1, y1, x2, y2 = grid.window(0, 0)
    large = (sides[:, 1] - sides[:, 0] > (x2 - x1, y2 - y1)).any(axis=1)
    return found[np.flatnonzero(large)].warped(warp)


def pieces_of(inside: IntArray, areas: IntArray, ended: BoolArray) -> BoolArray:
    """[N]: which things are pieces of a large one: windows did not see them to their end, and at least half of their
    pixels are `inside` it (SAHI's IOS of 0.5).
    """
    there: BoolArray = ~ended & (inside > 0) & (inside >= _PART * areas)
    return there


def same_as(inside: IntArray, areas: IntArray, ended: BoolArray, area: int) -> BoolArray:
    """[N]: which things are a large one of `area` pixels, seen to their end by windows, which see more."""
    there: BoolArray = ended & (inside > _SAME_IOU * np.maximum(areas + area - inside, 1))
    return there


def with_large(found: InstanceSet, ended: BoolArray, large: InstanceSet, size: tuple[int, int]) -> InstanceSet:
    """What windows found in a picture of `size` (H, W), and what a look at the whole picture adds; the surest first.

    A large object that windows saw to its end, with an IoU above one half and of the same class, is theirs. Any other
    is added. One with a score of at least 0.5 takes the place of its pieces (see `pieces_of`) that are no surer,
    whatever their classes; its mask has those of its class as well, as windows see edges better.
    """
    shapes, others = (shapes_of(one.boxes, size) if one.masks is None else one.masks for one in (found, large))
    areas, scores = shapes.areas(), _scores(large)
    gone, kept, masks = np.zeros(len(found), np.bool_), [], []
    for row in np.argsort(-scores, kind="stable").tolist():
        one = others[row]
        inside, alike = _common(shapes, one), found.class_ids == large.class_ids[row]
        if same_as(inside, areas, ended & alike, int(one.areas()[0])).any():
            continue
        lesser = (_scores(found) <= scores[row]) & bool(scores[row] >= _SURE)
        pieces = pieces_of(inside, areas, ended) & lesser & ~gone
        gone |= pieces
        kept.append(row)
        if found.masks is not None:
            masks.append(_together(Masks.concatenate([one, found.masks[np.flatnonzero(pieces & alike)]])))
    left = np.flatnonzero(~gone)
    boxes, outlined = large.boxes[kept], None
    if found.masks is not None:
        added = Masks.concatenate([Masks.empty(size), *masks])
        boxes, outlined = added.boxes(), Masks.concatenate([found.masks[left], added])
    both = InstanceSet(
        np.concatenate([found.boxes[left], boxes]),
        np.concatenate([found.class_ids[left], large.class_ids[kept]]).astype(np.int64),
        np.concatenate([_scores(found)[left], scores[kept]]),
        outlined,
    )
    assert both.scores is not None
    return both[np.argsort(-both.scores, kind="stable")]


def _common(shapes: Masks, one: Masks) -> IntArray:
    """[N]: the pixels that each mask has in common with `one`."""
    x1, y1, x2, y2 = one.windows[0].tolist()
    common: IntArray = np.zeros(len(shapes), np.int64)
    if x2 == x1:
        return common
    crop = one.crop(0)
    low, high = np.maximum(shapes.windows[:, :2], (x1, y1)), np.minimum(shapes.windows[:, 2:], (x2, y2))
    for index in np.flatnonzero((high > low).all(axis=1)).tolist():
        (left, top), (right, bottom) = low[index].tolist(), high[index].tolist()
        at_left, at_top = shapes.windows[index, :2].tolist()
        mine = shapes.crop(index)[top - at_top : bottom - at_top, left - at_left : right - at_left]
        common[index] = np.count_nonzero(mine & crop[top - y1 : bottom - y1, left - x1 : right - x1])
    return common


def _together(masks: Masks) -> Masks:
    """One mask that has the pixels of all."""
    there = np.flatnonzero(masks.windows[:, 2])
    if len(there) < 2:
        return masks[there if len(there) else [0]]
    left, top = masks.windows[there, :2].min(axis=0).tolist()
    right, bottom = masks.windows[there, 2:].max(axis=0).tolist()
    whole: Array = np.zeros((bottom - top, right - left), np.bool_)
    for index in there.tolist():
        x1, y1, x2, y2 = masks.windows[index].tolist()
        whole[y1 - top : y2 - top, x1 - left : x2 - left] |= masks.crop(index)
    return Masks.from_crops([whole], np.array([[left, top]]), masks.size)


def _scores(found: InstanceSet) -> FloatArray:
    return np.ones(len(found), np.float32) if found.scores is None else found.scores
