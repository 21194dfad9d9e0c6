"""One object, one detection: which of several stays, and which objects are different ones."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.formats.coco.instances import read_coco
from everymask.errors import ConfigError
from everymask.infer.decoding.duplicates import DUPLICATE_IOU, without_duplicates

SIZE = (100, 100)


def squares(*rows: tuple[int, int, int, float], masks: bool = True) -> InstanceSet:
    """Squares (x, y, side, score), each of a class of its own."""
    crops = [np.ones((side, side), bool) for _, _, side, _ in rows]
    found = Masks.from_crops(crops, np.array([row[:2] for row in rows]).reshape(-1, 2), SIZE)
    scores = np.array([row[3] for row in rows], np.float32)
    return InstanceSet(found.boxes(), np.arange(len(rows)), scores, found if masks else None)


@pytest.mark.parametrize("masks", [True, False])
def test_of_one_object_the_surest_detection_stays_whatever_its_class(masks: bool) -> None:
    found = squares((10, 10, 40, 0.6), (60, 60, 20, 0.7), (11, 10, 40, 0.9), (10, 11, 40, 0.5), masks=masks)
    kept = without_duplicates(found)
    assert kept.class_ids.tolist() == [1, 2], "in the order in which they came"
    assert kept.scores is not None and kept.scores.tolist() == pytest.approx([0.7, 0.9])
    assert (kept.masks is not None) == masks


@pytest.mark.parametrize("masks", [True, False])
def test_different_objects_stay_however_much_they_overlap(masks: bool) -> None:
    found = squares((10, 10, 40, 0.9), (12, 12, 40, 0.8), masks=masks)
    overlap = 38 * 38 / (2 * 40 * 40 - 38 * 38)
    assert 0.8 < overlap < 0.83
    assert len(without_duplicates(found, 0.83)) == 2
    assert len(without_duplicates(found, 0.8)) == 1


def test_masks_decide_where_boxes_are_the_same() -> None:
    bars = np.zeros((2, 60, 60), bool)
    np.fill_diagonal(bars[0], True)
    np.fill_diagonal(bars[1, ::-1], True)
    masks = Masks.from_dense(bars)
    found = InstanceSet(masks.boxes(), np.arange(2), np.array([0.9, 0.8], np.float32), masks)
    assert len(without_duplicates(found)) == 2
    assert len(without_duplicates(replace(found, masks=None))) == 1


def test_an_object_that_is_gone_takes_no_other_with_it() -> None:
    chain = squares((10, 10, 40, 0.9), (13, 10, 40, 0.8), (16, 10, 40, 0.7))
    assert without_duplicates(chain, 0.8).class_ids.tolist() == [0, 2]


def test_of_equals_and_without_scores_the_first_stays() -> None:
    equal = squares((10, 10, 40, 0.5), (10, 10, 40, 0.5))
    assert without_duplicates(equal).class_ids.tolist() == [0]
    assert without_duplicates(replace(equal, scores=None)).class_ids.tolist() == [0]


def test_one_keeps_all_and_empty_masks_are_nobodys_duplicates() -> None:
    same = squares((10, 10, 40, 0.9), (10, 10, 40, 0.8))
    assert without_duplicates(same, 1.0) is same
    empty = Masks.from_crops([np.zeros((1, 1), bool)] * 2, np.zeros((2, 2), int), SIZE)
    assert len(without_duplicates(replace(same, masks=empty))) == 2
    assert len(without_duplicates(InstanceSet.empty(SIZE, scored=True))) == 0


@pytest.mark.parametrize("iou", [-0.1, 1.5, float("nan")])
def test_an_iou_beyond_its_range_is_refused(iou: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        without_duplicates(squares((10, 10, 40, 0.9)), iou)


def test_three_thousand_objects_take_little_memory() -> None:
    rows = [(3 * (k % 32), 3 * (k // 32 % 32), 3, 0.5) for k in range(3000)]
    found = squares(*rows)
    tracemalloc.start()
    try:
        kept = without_duplicates(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 1024
    assert peak < 20e6


@pytest.mark.slow
def test_annotated_objects_are_no_duplicates(shared: Path) -> None:
    """What the default rests on: of all objects of the two data sets one is taken for another's double."""
    lost = {}
    for name in ("coco128_seg/instances.json", "nuclei/val.json"):
        dataset = read_coco(shared / name)
        sets = [dataset.objects(index) for index in range(len(dataset))]
        lost[name] = sum(len(truth) - len(without_duplicates(truth, DUPLICATE_IOU)) for truth in sets)
    assert lost == {"coco128_seg/instances.json": 1, "nuclei/val.json": 0}
