"""The same objects twice: which of the second is which of the first, how alike the two are, and why they differ."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.painting import visible

_SAME_BOX = 1e-4  # boxes that went through fractions of a side differ by less


@dataclass(frozen=True, slots=True)
class Pair:
    """An object's partner: its `row` (None: it has none), their IoU, and whether nothing of it has changed."""

    row: int | None
    iou: float
    exact: bool


def pair_objects(ours: InstanceSet, theirs: InstanceSet) -> list[Pair]:
    """A partner of the same class for each of our objects: one that is equal, else the one of the highest IoU that is
    left. An object whose mark as a crowd has changed is not exact.
    """
    partners = _equal(ours, theirs)
    ious = [float(row is not None) for row in partners]
    rest = [place for place, row in enumerate(partners) if row is None]
    left = sorted(set(range(len(theirs))) - {row for row in partners if row is not None})
    if rest and left:
        table = _ious(ours[rest], theirs[left])
        table[ours.class_ids[rest][:, None] != theirs.class_ids[left][None]] = 0
        for flat in np.argsort(-table, axis=None, kind="stable").tolist():
            mine, other = divmod(flat, len(left))
            if not table[mine, other]:
                break
            partners[rest[mine]], ious[rest[mine]] = left[other], float(table[mine, other])
            table[mine], table[:, other] = 0, 0
    least = 1 - _SAME_BOX if ours.masks is None else 1
    return [
        Pair(row, iou, row is not None and iou >= least and _crowd(ours, place) == _crowd(theirs, row))
        for place, (row, iou) in enumerate(zip(partners, ious, strict=True))
    ]


def _equal(ours: InstanceSet, theirs: InstanceSet) -> list[int | None]:
    """Their objects that are equal to ours in class and pixels, each once."""
    pool: dict[Hashable, list[int]] = {}
    for row, key in enumerate(_keys(theirs)):
        pool.setdefault(key, []).append(row)
    found = []
    for key in _keys(ours):
        rows = pool.get(key)
        found.append(rows.pop(0) if rows else None)
    return found


def _keys(objects: InstanceSet) -> list[Hashable]:
    shapes: list[Hashable] = list(map(tuple, objects.boxes.round(3).tolist()))
    if objects.masks is not None:
        shapes = list(objects.masks.to_rle())
    return list(zip(objects.class_ids.tolist(), shapes, strict=True))


def _crowd(objects: InstanceSet, row: int) -> bool:
    return objects.crowd is not None and bool(objects.crowd[row])


def _ious(ours: InstanceSet, theirs: InstanceSet) -> FloatArray:
    """[N, M]: of masks where both have them, of boxes where neither has, else 0."""
    if ours.masks is not None and theirs.masks is not None:
        return ours.masks.iou(theirs.masks)
    if ours.masks is not None or theirs.masks is not None:
        return np.zeros((len(ours), len(theirs)))
    mine, other = ours.boxes[:, None].astype(np.float64), theirs.boxes[None].astype(np.float64)
    low, high = np.maximum(mine[..., :2], other[..., :2]), np.minimum(mine[..., 2:], other[..., 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (mine, other)]
    overlaps: FloatArray = common / np.maximum(areas[0] + areas[1] - common, 1e-12)
    return overlaps


class Reasons:
    """Why objects of a picture are not as they were."""

    def __init__(self, ours: InstanceSet, theirs: InstanceSet) -> None:
        self._ours, self._theirs = ours, theirs
        self._single = [row for row in range(len(ours)) if not _crowd(ours, row)]
        self._seen = None if ours.masks is None else visible(ours.masks[self._single])

    def of(self, place: int, pair: Pair) -> str:
        """What happened to our object at `place`."""
        masks, theirs, crowd = self._ours.masks, self._theirs.masks, _crowd(self._ours, place)
        if pair.row is None and crowd:
            return "crowds are left out"
        if pair.row is not None and crowd != _crowd(self._theirs, pair.row):
            return "the mark of a crowd is lost"
        if masks is None or theirs is None or self._seen is None:
            return "boxes are left out" if pair.row is None else "boxes are rounded"
        if not masks.windows[place].any():
            return "objects without a pixel are left out"
        seen = masks[place] if crowd else self._seen[self._single.index(place)]
        if pair.row is None:
            return "objects are left out" if seen.windows.any() else "objects under smaller ones are hidden"
        written = theirs[pair.row]
        if written.to_rle() == seen.to_rle():
            return "what smaller objects cover is taken away"
        return _change(masks[place], written)


def _change(mask: Masks, written: Masks) -> str:
    parts = mask.to_polygons(0)
    if written.areas()[0] > mask.areas()[0]:
        if any(len(rings) > 1 for rings in parts):
            return "holes are filled"
        if len(parts) > 1:
            return "parts are joined"
    return "parts are lost" if len(written.to_polygons(0)) < len(parts) else "outlines are rounded"
