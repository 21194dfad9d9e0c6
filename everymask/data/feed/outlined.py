"""Objects that are outlined by polygons, drawn no sooner than it is known where and at which scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.forms.outlines import Outlines
from everymask.core.geometry import Cut, Warp
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.augment import Augment, warped_truth
from everymask.data.records import Annotation, Polygons

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outlined:
    """Objects of one picture that are outlined by polygons: their outlines, classes, numbers and crowd marks."""

    outlines: Outlines
    class_ids: IntArray
    ids: IntArray
    crowd: BoolArray

    def warped(self, size: Size, warp: Warp, limits: Augment | None = None) -> InstanceSet:
        """The objects of a picture of `size` (H, W) that are left after a warp, as `warped_truth` gives them.

        Masks are drawn at the scale of the warp, and what is left of an object that reaches outside is measured by its
        outline. A rotated picture's are drawn as it is stored, and then rotated.
        """
        found = warp.cut(size)
        if found is None:
            masks = self.outlines.draw(size)
            whole = InstanceSet(masks.boxes(), self.class_ids, masks=masks, ids=self.ids, crowd=self.crowd)
            return warped_truth(whole, size, warp, limits)
        return self._drawn(found, limits).warped(found.rest)

    def _drawn(self, cut: Cut, limits: Augment | None) -> InstanceSet:
        (x1, y1, x2, y2), size = cut.window, cut.size
        scale = (size[1] / (x2 - x1), size[0] / (y2 - y1))
        boxes = self.outlines.boxes()
        seen = (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
        outlines = self.outlines[seen].moved((x1, y1), scale)
        masks = outlines.draw(size)
        areas = masks.areas()
        crowd = self.crowd[seen]
        keep = areas > 0
        if limits is not None:
            # An object larger than the picture counts as wholly visible where it fills the picture.
            whole = np.minimum(outlines.areas(), size[0] * size[1])
            left, top, right, bottom = outlines.boxes().T
            inside = (left >= 0) & (top >= 0) & (right <= size[1]) & (bottom <= size[0])
            enough = inside | (areas >= limits.min_visible * whole)
            keep &= crowd | (enough & (areas >= limits.min_area))
        found = InstanceSet(masks.boxes(), self.class_ids[seen], masks=masks, ids=self.ids[seen], crowd=crowd)
        return found if keep.all() else found[keep]


def outlined(objects: Sequence[Annotation]) -> Outlined | None:
    """The objects of a picture, if there are any and all of them are polygons."""
    shapes = [annotation.shape.rings for annotation in objects if isinstance(annotation.shape, Polygons)]
    if not shapes or len(shapes) != len(objects) or not all(shapes):
        return None
    rings = [np.asarray(ring, np.float64).reshape(-1, 2) for shape in shapes for ring in shape]
    return Outlined(
        Outlines(
            np.concatenate(rings),
            np.cumsum([0, *map(len, rings)]),
            np.repeat(np.arange(len(shapes)), [len(shape) for shape in shapes]),
        ),
        np.array([annotation.class_id for annotation in objects], np.int64),
        np.array([row + 1 if a.id is None else a.id for row, a in enumerate(objects)], np.int64),
        np.array([annotation.crowd for annotation in objects], np.bool_),
    )
