"""From what queries say to one panoptic map or to objects; an N x H x W array never exists."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.geometry import Size
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.prompted import MaskResizing
from everymask.models.specs.queries import MASK_STRIDE, QuerySpec


def merge_queries(classes: FloatArray, masks: FloatArray, placement: Placement, spec: QuerySpec) -> PanopticMap:
    """What queries make of a picture, by the rules of Mask2Former (Cheng et al. 2022).

    `classes` [Q, 1 + K] are logits, the first of which is none, `masks` [Q, h, w] those of masks in the frame.

    - queries whose most probable class is none, or less probable than `min_score`, are left out
    - each pixel goes to the query with the largest product of that probability and of its mask's there
    - a query is left out that gets less than `overlap` of the pixels where its own mask is at least one half, or none
    - its segment is what it gets of these; stuff of one class is one segment, and what is left has none (0)

    Reference: `panoptic_inference` of Mask2Former. Memory is a few planes of the picture's size.
    """
    scores = _softmax(classes)
    best = scores.argmax(axis=1)
    kept = np.flatnonzero((best > 0) & (scores.max(axis=1) > spec.min_score))
    resizing = _resizing(masks, placement)
    owner, sure, own = _owners(masks[kept], scores[kept, best[kept]], resizing, placement.original)
    got = np.bincount(owner.ravel(), minlength=len(kept) + 1)[1:]
    painted = np.bincount(owner[sure], minlength=len(kept) + 1)[1:]
    table = np.zeros(len(kept) + 1, np.int32)
    segments: list[Segment] = []
    stuff: dict[int, int] = {}
    for place, query in enumerate(kept.tolist()):
        if not painted[place] or got[place] < spec.overlap * own[place]:
            continue
        class_id = int(best[query]) - 1
        is_thing = class_id in spec.things
        if is_thing or class_id not in stuff:
            score = float(scores[query, best[query]]) if is_thing else None
            segments.append(Segment(len(segments) + 1, class_id, score))
        table[place + 1] = len(segments) if is_thing else stuff.setdefault(class_id, len(segments))
    return PanopticMap(np.where(sure, table[owner], np.int32(0)), tuple(segments))


def query_objects(classes: FloatArray, masks: FloatArray, placement: Placement, most: int) -> InstanceSet:
    """The `most` surest pairs of a query and a class as objects, the surest first; those without a pixel are left out.

    The score is the class's probability times the mean of the mask's where that is more than one half. Arrays as in
    `merge_queries`. Reference: `instance_inference` of Mask2Former.
    """
    scores = _softmax(classes)[:, 1:]
    flat = scores.ravel()
    order = np.argsort(-flat, kind="stable")[:most]
    queries, class_ids = np.divmod(order, scores.shape[1])
    resizing, crops, windows, quality = _resizing(masks, placement), {}, {}, {}
    for query in np.unique(queries).tolist():
        windows[query], crops[query], quality[query] = _object(masks[query], resizing)
    sure = flat[order] * np.array([quality[query] for query in queries.tolist()], np.float32)
    there = np.array([crops[query].any() for query in queries.tolist()], np.bool_)
    chosen = np.flatnonzero(there)[np.argsort(-sure[there], kind="stable")]
    rows = queries[chosen].tolist()
    corners = np.array([windows[query][:2] for query in rows], np.int64).reshape(-1, 2)
    found = Masks.from_crops([crops[query] for query in rows], corners, placement.original)
    boxes = found.boxes().astype(np.float32)
    return InstanceSet(boxes, class_ids[chosen].astype(np.int64), sure[chosen].astype(np.float32), found)


def _resizing(masks: FloatArray, placement: Placement) -> MaskResizing:
    height, width = masks.shape[1:]
    return MaskResizing((height, width), placement, (MASK_STRIDE * height, MASK_STRIDE * width))


def _owners(
    masks: FloatArray, scores: FloatArray, resizing: MaskResizing, size: Size
) -> tuple[IntArray, BoolArray, IntArray]:
    """Which of K masks has each pixel [H, W], counted from 1, where its own logit is not negative [H, W], and how many
    pixels each has where it is not [K].
    """
    owner: IntArray = np.zeros(size, np.min_scalar_type(len(masks)))
    sure = np.zeros(size, np.bool_)
    largest = np.zeros(size, np.float32)
    own = np.zeros(len(masks), np.int64)
    for place, (plane, score) in enumerate(zip(masks, scores, strict=True)):
        for first, strip in resizing.strips(plane, (0, 0, size[1], size[0])):
            part = slice(first, first + len(strip))
            inside = strip >= 0
            own[place] += np.count_nonzero(inside)
            product = score * _sigmoid(strip)
            wins = product > largest[part]
            owner[part][wins] = place + 1
            sure[part][wins] = inside[wins]
            np.maximum(largest[part], product, out=largest[part])
    return owner, sure, own


def _object(plane: FloatArray, resizing: MaskResizing) -> tuple[tuple[int, int, int, int], BoolArray, float]:
    """Where a mask is in the picture: a window xyxy, what of it, and how probable that is in the mean."""
    x1, y1, x2, y2 = window = resizing.window(plane, 0.0)
    crop = np.zeros((y2 - y1, x2 - x1), np.bool_)
    total = 0.0
    if crop.size:
        for first, strip in resizing.strips(plane, window):
            inside = strip > 0
            crop[first - y1 : first - y1 + len(strip)] = inside
            total += float(_sigmoid(strip[inside]).sum())
    count = int(np.count_nonzero(crop))
    return window, crop, total / count if count else 0.0


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _sigmoid(logits: FloatArray) -> FloatArray:
    probability: FloatArray = 1 / (1 + np.exp(-np.maximum(logits, np.float32(-80))))
    return probability
