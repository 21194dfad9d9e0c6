"""One panoptic map of things that may overlap and of stuff that is everywhere; an N x H x W array never exists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, SemanticMap
from everymask.models.specs.panoptic import PanopticFPN


def merge_panoptic(found: InstanceSet, classes: SemanticMap, spec: PanopticFPN) -> PanopticMap:
    """What things and stuff make of a picture, by the rules of Panoptic FPN (Kirillov et al. 2019).

    `found` are objects with masks and scores, whose classes are places among `spec.things`; `classes` [H, W] says of
    every pixel which stuff it is, counted from 1, or 0 for a thing.

    - from the surest thing on each takes the pixels of its mask that are free; one below `min_score`, one of which more
      than `overlap` is taken already, and one without a free pixel are left out
    - stuff takes what is free then, each class as one segment, where that has at least `least_stuff` pixels
    - what is left has no segment (0)

    Reference: `combine_semantic_and_instance_outputs` of Detectron2.
    """
    assert found.masks is not None and found.scores is not None
    ids: IntArray = np.zeros(classes.size, np.int32)
    segments: list[Segment] = []
    for row in np.argsort(-found.scores, kind="stable").tolist():
        score = float(found.scores[row])
        if score < spec.min_score:
            break
        x1, y1, x2, y2 = found.masks.windows[row].tolist()
        crop = found.masks.crop(row)
        part = ids[y1:y2, x1:x2]
        free = crop & (part == 0)
        area, left = int(np.count_nonzero(crop)), int(np.count_nonzero(free))
        if not left or area - left > spec.overlap * area:
            continue
        segments.append(Segment(len(segments) + 1, spec.things[int(found.class_ids[row])], score))
        part[free] = len(segments)
    stuff = _stuff_ids(spec, np.where(ids == 0, classes.ids, 0))
    table = np.zeros(int(classes.ids.max(initial=0)) + 1, np.int32)
    for place, class_id in stuff:
        segments.append(Segment(len(segments) + 1, class_id))
        table[place] = len(segments)
    return PanopticMap(np.where(ids == 0, table[classes.ids], ids), tuple(segments))


def _stuff_ids(spec: PanopticFPN, free: IntArray) -> Sequence[tuple[int, int]]:
    """The stuff that has enough of the free pixels [H, W]: its number there, and its class id."""
    pixels = np.bincount(free.ravel())
    least = spec.least_stuff((free.shape[0], free.shape[1]))
    ids = spec.stuff(len(spec.things) + len(pixels))
    return [(place, ids[place - 1]) for place in range(1, len(pixels)) if pixels[place] >= max(least, 1)]
