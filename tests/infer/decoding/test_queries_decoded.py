"""Queries become one map or objects by the rules of Mask2Former's own code, tried on pictures made by hand."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.arrays import FloatArray
from everymask.core.segmentation import PanopticMap
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.queries import merge_queries, query_objects
from everymask.models.specs.queries import Mask2Former

SPEC = Mask2Former(task="panoptic", things=(0, 1))
LOOSE = replace(SPEC, min_score=0.4, overlap=0.4)
SURE, CLASSES, SIDE = 8.0, 4, 4
SIZE = (16, 16)
WHOLE = Placement(SIZE, SIZE)


def query(
    class_id: int | None, probability: float, boxes: dict[tuple[int, int, int, int], float]
) -> tuple[FloatArray, FloatArray]:
    """Logits of a query that gives a class (None: none) that probability, and whose mask is `boxes` xyxy of logits."""
    rest = (1 - probability) / CLASSES
    shares = np.full(1 + CLASSES, rest)
    shares[0 if class_id is None else 1 + class_id] = probability
    plane = np.full((SIDE, SIDE), -SURE, np.float32)
    for (x1, y1, x2, y2), logit in boxes.items():
        plane[y1:y2, x1:x2] = logit
    return np.log(shares).astype(np.float32), plane


def merged(*queries: tuple[FloatArray, FloatArray], spec: Mask2Former = SPEC) -> PanopticMap:
    classes, masks = (np.stack(part) for part in zip(*queries, strict=True))
    return merge_queries(classes, masks, WHOLE, spec)


def told(found: PanopticMap) -> list[tuple[int, float | None]]:
    return [(one.class_id, None if one.score is None else round(one.score, 2)) for one in found.segments]


LEFT, RIGHT, ALL = (0, 0, 2, 4), (2, 0, 4, 4), (0, 0, 4, 4)


def test_every_thing_has_a_number_of_its_own_and_stuff_of_a_class_one() -> None:
    """transformers sets its counter back after it has joined stuff, so that two things share a number."""
    quarters = [(x, y, x + 2, y + 2) for y in (0, 2) for x in (0, 2)]
    classes = (2, 0, 2, 0)
    found = merged(*(query(k, 0.95, {box: SURE}) for k, box in zip(classes, quarters, strict=True)))
    assert told(found) == [(2, None), (0, 0.95), (0, 0.95)]
    assert found.ids[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [1, 2, 1, 3]


def test_an_unsure_mask_of_a_sure_class_stays() -> None:
    """transformers takes areas after multiplying with the score: 0.6 times 0.82 is less than one half."""
    logit = float(np.log(0.6 / 0.4))
    found = merged(query(1, 0.82, {ALL: logit}))
    assert told(found) == [(1, 0.82)] and (found.ids == 1).all()


def test_only_what_a_mask_probably_is_is_painted() -> None:
    """Where a query's mask is the likeliest and still below one half nothing is; transformers paints it."""
    found = merged(query(1, 0.95, {LEFT: SURE, RIGHT: -0.5}))
    assert told(found) == [(1, 0.95)]
    assert found.ids[8, 0] == 1 and found.ids[8, -1] == 0


def test_unsure_queries_and_those_without_a_class_are_left_out() -> None:
    sure, unsure, none = query(0, 0.81, {LEFT: SURE}), query(1, 0.79, {RIGHT: SURE}), query(None, 0.9, {RIGHT: SURE})
    assert told(merged(sure, unsure, none)) == [(0, 0.81)]
    assert told(merged(sure, unsure, none, spec=replace(SPEC, min_score=0.7))) == [(0, 0.81), (1, 0.79)]
    empty = merged(none)
    assert empty.segments == () and not empty.ids.any() and empty.size == SIZE


def test_the_larger_product_has_the_pixel_and_what_is_mostly_covered_is_left_out() -> None:
    below, above = query(0, 0.85, {ALL: SURE}), query(1, 0.95, {LEFT: SURE})
    assert told(merged(below, above)) == [(1, 0.95)]
    assert told(merged(below, above, spec=replace(SPEC, overlap=0.4))) == [(0, 0.85), (1, 0.95)]
    same = query(0, 0.9, {LEFT: SURE})
    assert told(merged(same, same)) == [(0, 0.9)]


def official(classes: FloatArray, masks: FloatArray, frame: tuple[int, int], inside: tuple[int, int]) -> PanopticMap:
    """`panoptic_inference` as the paper's appendix describes it, on whole planes."""
    grown = F.interpolate(torch.from_numpy(masks)[None], size=frame, mode="bilinear", align_corners=False)
    grown = F.interpolate(grown[..., : inside[0], : inside[1]], size=SIZE, mode="bilinear", align_corners=False)[0]
    scores, labels = torch.from_numpy(classes).softmax(1).max(1)
    keep = (labels > 0) & (scores > LOOSE.min_score)
    planes, scores, labels = grown[keep].sigmoid(), scores[keep], labels[keep] - 1
    ids = np.zeros(SIZE, np.int32)
    owner = (scores[:, None, None] * planes).argmax(0)
    stuff: dict[int, int] = {}
    count = 0
    for row, label in enumerate(labels.tolist()):
        mine, own = owner == row, planes[row] >= 0.5
        if not (mine & own).any() or mine.sum() / own.sum() < LOOSE.overlap:
            continue
        if label in SPEC.things or label not in stuff:
            count += 1
        number = count if label in SPEC.things else stuff.setdefault(label, count)
        ids[(mine & own).numpy()] = number
    return PanopticMap(ids)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_reference_on_whole_planes(seed: int) -> None:
    """Of a picture that was resized and padded."""
    draw = np.random.default_rng(seed)
    classes = (6 * draw.standard_normal((9, 1 + CLASSES))).astype(np.float32)
    masks = np.repeat(np.repeat(6 * draw.standard_normal((9, 2, 2)), 3, axis=1), 4, axis=2).astype(np.float32)
    found = merge_queries(classes, masks, Placement(SIZE, (20, 29), frame=(24, 32)), LOOSE)
    expected = official(classes, masks, (24, 32), (20, 29))
    assert np.array_equal(found.ids, expected.ids) and found.ids.max() > 1


def test_objects_are_pairs_of_query_and_class() -> None:
    one = query(1, 0.7, {LEFT: SURE})
    two = query(3, 0.9, {RIGHT: 0.5})
    nowhere = query(0, 0.99, {})
    classes, masks = (np.stack(part) for part in zip(one, two, nowhere, strict=True))
    found = query_objects(classes, masks, WHOLE, 3)
    assert found.masks is not None and found.scores is not None
    assert found.class_ids.tolist() == [1, 3], "the surest, by class and mask; what has no pixel is none"
    assert found.scores[0] == pytest.approx(0.7 * 0.99, abs=0.02) and 0.45 < found.scores[1] < 0.6
    assert found.masks.areas()[0] == pytest.approx(8 * 16, abs=16) and found.boxes[0, 0] == 0
    every = query_objects(classes, masks, WHOLE, 100)
    assert len(every) == 2 * CLASSES and (np.diff(every.scores) <= 0).all()
    assert len(query_objects(classes[2:], masks[2:], WHOLE, 5)) == 0


def test_a_picture_in_the_middle_of_its_frame_is_found_there() -> None:
    """As matterport places it."""
    placement = Placement((8, 8), (8, 8), (4, 4), (16, 16))
    classes, masks = (np.stack([part]) for part in query(0, 0.9, {(1, 1, 3, 3): SURE}))
    objects = query_objects(classes, masks, placement, 1)
    assert objects.boxes.tolist() == [[0, 0, 8, 8]]
    assert np.count_nonzero(merge_queries(classes, masks, placement, SPEC).ids) == 60, "all but the corners"


def test_memory_is_a_few_planes() -> None:
    """Not one for each query: twenty would have 80 MB."""
    size = (1000, 1000)
    classes, masks = (np.stack([part] * 20) for part in query(0, 0.9, {ALL: SURE}))
    tracemalloc.start()
    merge_queries(classes, masks, Placement(size, size, frame=size), SPEC)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
