"""Who meets whom: the rules that the numbers of pycocotools alone do not single out."""

from __future__ import annotations

import numpy as np
import pytest
from metrics.reference import random_pictures

from everymask.metrics.matching import (
    IOU_THRESHOLDS,
    RECALLS,
    Objects,
    Pairs,
    box_pairs,
    curves_of,
    mask_pairs,
    match_by_class,
    partners,
    ranks,
)

HALF = np.array([0.5])


def pairs_of(*rows: tuple[int, int, float]) -> Pairs:
    found, true, iou = zip(*rows, strict=True)
    return Pairs(np.array(found), np.array(true), np.array(iou))


def partner_of(pairs: Pairs, rank: list[int], *, crowd: list[bool], ignored: list[bool] | None = None) -> list[int]:
    crowds, left_out = np.array(crowd), np.array(crowd if ignored is None else ignored)[:, None]
    allowed = np.ones(len(pairs.iou), bool)
    return partners(pairs, allowed, np.array(rank), crowds, left_out, HALF)[:, 0, 0].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_that_overlap_by_half(seed: int) -> None:
    for _, truth, found in random_pictures(seed, pictures=10, objects=30, classes=1):
        areas, true_areas = found.masks.areas(), truth.masks.areas()
        dense = found.masks.iou(truth.masks)
        # What of a detection lies on a crowd: the intersection follows from the IoU.
        common = dense / (1 + dense) * (areas[:, None] + true_areas)
        expected = np.where(truth.crowd, common / areas[:, None], dense)
        pairs = mask_pairs(found.masks, truth.masks, areas, true_areas, truth.crowd)
        chosen = expected >= 0.5
        assert (pairs.found.tolist(), pairs.true.tolist()) == tuple(index.tolist() for index in np.nonzero(chosen))
        assert pairs.iou == pytest.approx(expected[chosen], abs=1e-12)


def objects_of(
    boxes: list[list[float]], *, picture: list[int] | None = None, crowd: list[bool] | None = None
) -> Objects:
    count = len(boxes)
    return Objects(
        picture=np.array([0] * count if picture is None else picture),
        class_ids=np.zeros(count, np.int64),
        scores=np.zeros(count, np.float32),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        areas=np.zeros(count),
        crowd=np.array([False] * count if crowd is None else crowd),
    )


def test_boxes_may_be_smaller_than_a_pixel_or_empty() -> None:
    boxes = [[0, 0, 0.5, 0.5], [3, 3, 3, 3], [0, 0, 0.5, 0.125]]
    pairs = box_pairs(objects_of(boxes), objects_of(boxes[:2]))
    assert (pairs.found.tolist(), pairs.true.tolist(), pairs.iou.tolist()) == ([0], [0], [1.0])


def test_boxes_meet_only_those_of_their_picture() -> None:
    here, there = [0, 0, 10, 10], [0, 0, 10, 8]
    found = objects_of([here, here, here, here], picture=[0, 1, 3, 3])
    true = objects_of([here, there, here, here], picture=[0, 0, 2, 3])
    pairs = box_pairs(found, true)
    met = sorted(zip(pairs.found.tolist(), pairs.true.tolist(), pairs.iou.tolist(), strict=True))
    assert met == [(0, 0, 1), (0, 1, 0.8), (2, 3, 1), (3, 3, 1)]
    assert len(box_pairs(objects_of([]), true).iou) == len(box_pairs(found, objects_of([])).iou) == 0


def test_half_of_a_box_is_enough_and_of_a_crowd_only_the_detection_counts() -> None:
    crowded = objects_of([[0, 0, 10, 5], [0, 0, 10, 100]], crowd=[False, True])
    pairs = box_pairs(objects_of([[0, 0, 10, 10], [0, 50, 10, 150], [0, 51, 10, 151]]), crowded)
    assert (pairs.found.tolist(), pairs.true.tolist(), pairs.iou.tolist()) == ([0, 0, 1], [0, 1, 1], [0.5, 1, 0.5])


def test_the_surer_detection_chooses_first_and_the_other_takes_what_is_left() -> None:
    pairs = pairs_of((0, 0, 0.9), (1, 0, 0.8), (1, 1, 0.6))
    assert partner_of(pairs, [0, 1], crowd=[False, False]) == [0, 1]
    assert partner_of(pairs, [1, 0], crowd=[False, False]) == [-1, 0]


def test_of_equal_overlaps_the_last_is_taken() -> None:
    assert partner_of(pairs_of((0, 0, 0.7), (0, 1, 0.7)), [0], crowd=[False, False]) == [1]


def test_what_is_ignored_comes_last_even_if_it_overlaps_more() -> None:
    pairs = pairs_of((0, 0, 0.9), (0, 1, 0.6), (1, 0, 0.9), (1, 1, 0.9))
    assert partner_of(pairs, [0, 1], crowd=[False, False], ignored=[True, False]) == [1, 0]


def test_a_crowd_is_never_used_up() -> None:
    pairs = pairs_of((0, 0, 1.0), (1, 0, 1.0), (2, 0, 1.0))
    assert partner_of(pairs, [0, 1, 2], crowd=[True]) == [0, 0, 0]
    assert partner_of(pairs, [0, 1, 2], crowd=[False]) == [0, -1, -1]


def test_ranks_are_by_score_within_a_group_and_equal_scores_keep_their_order() -> None:
    group = np.array([5, 2, 5, 5, 2])
    assert ranks(group, np.array([0.1, 0.5, 0.9, 0.1, 0.5])).tolist() == [1, 0, 0, 2, 1]


def test_tables_are_joined_by_the_rows_of_the_pictures_before() -> None:
    parts = [pairs_of((0, 1, 0.5)), Pairs(*(np.zeros(0, kind) for kind in (int, int, float))), pairs_of((2, 0, 0.75))]
    joined = Pairs.concatenate(parts, [3, 0, 4], [2, 1, 1])
    assert (joined.found.tolist(), joined.true.tolist(), joined.iou.tolist()) == ([0, 5], [1, 3], [0.5, 0.75])
    assert len(Pairs.concatenate([], [], []).iou) == 0


def scored(*scores: float, areas: list[float] | None = None, **columns: list[int] | list[bool]) -> Objects:
    """Detections of one picture and class unless `columns` say otherwise; truth where the scores are 0."""
    count = len(scores)
    return Objects(
        picture=np.array(columns.get("picture", [0] * count)),
        class_ids=np.array(columns.get("class_ids", [0] * count)),
        scores=np.array(scores, np.float32),
        boxes=np.zeros((count, 4), np.float32),
        areas=np.array(areas or [100.0] * count),
        crowd=np.array(columns.get("crowd", [False] * count), bool),
    )


def test_an_overlap_at_the_threshold_is_enough() -> None:
    for threshold in range(10):
        pairs = pairs_of((0, 0, float(IOU_THRESHOLDS[threshold])))
        hit = match_by_class(scored(0.9), scored(0), pairs, 100).hit[0, :, 0]
        assert hit.tolist() == [index <= threshold for index in range(10)]


@pytest.mark.parametrize(
    ("area", "sizes"),
    [
        pytest.param(32**2 - 1, [True, True, False, False], id="small"),
        pytest.param(32**2, [True, True, True, False], id="small and medium"),
        pytest.param(32**2 + 1, [True, False, True, False], id="medium"),
        pytest.param(96**2, [True, False, True, True], id="medium and large"),
        pytest.param(96**2 + 1, [True, False, False, True], id="large"),
    ],
)
def test_both_ends_of_a_range_of_sizes_belong_to_it(area: int, sizes: list[bool]) -> None:
    found, true = scored(0.9, 0.8, areas=[5.0, area]), scored(0, areas=[area])
    matches = match_by_class(found, true, pairs_of((0, 0, 1.0)), 100)
    # A detection is of the size of what it met, and of its own where it met nothing.
    assert matches.hit[:, 0].tolist() == [sizes, [False] * 4]
    assert matches.void[:, 0].tolist() == [[not inside for inside in sizes]] * 2
    defined = curves_of(found, true, matches, 1, [100]).recall[0, 0, :, 0] > -1
    assert defined.tolist() == sizes


def test_what_meets_a_crowd_counts_nowhere_and_a_crowd_is_not_to_be_found() -> None:
    found, true = scored(0.9, 0.8), scored(0, crowd=[True])
    matches = match_by_class(found, true, pairs_of((0, 0, 1.0), (1, 0, 0.6)), 100)
    assert not matches.hit.any()
    assert matches.void[:, :, 0].sum(axis=1).tolist() == [10, 3]
    assert (curves_of(found, true, matches, 1, [100]).recall == -1).all()


def test_only_the_surest_of_each_picture_and_class_count() -> None:
    found = scored(0.7, 0.9, 0.8, 0.6, 0.5, class_ids=[0, 0, 0, 1, 0], picture=[0, 0, 0, 0, 1])
    true = scored(0, 0, 0, class_ids=[0, 1, 0], picture=[0, 0, 1])
    pairs = pairs_of((0, 0, 0.9), (2, 0, 0.9), (3, 0, 0.9), (3, 1, 0.8), (4, 2, 0.9))
    matches = match_by_class(found, true, pairs, 2)
    assert matches.rank.tolist() == [2, 0, 1, 0, 0]
    assert matches.hit[:, 0, 0].tolist() == [False, False, True, True, True]
    assert matches.void[:, 0, 0].tolist() == [True, False, False, False, False]
    assert curves_of(found, true, matches, 2, [1, 2]).recall[0, :, 0].tolist() == [[0.5, 1], [1, 1]]


@pytest.mark.parametrize(
    ("hit", "precision"),
    [
        pytest.param([(0, 0)], 1.0, id="first of the first picture"),
        pytest.param([(1, 0)], 1 / 2, id="second of the first picture"),
        pytest.param([(2, 1)], 1 / 3, id="first of the second picture"),
    ],
)
def test_equal_scores_stand_in_the_order_of_pictures_and_rows(hit: list[tuple[int, int]], precision: float) -> None:
    found, true = scored(0.5, 0.5, 0.5, 0.5, picture=[0, 0, 1, 1]), scored(0, 0, picture=[0, 1])
    pairs = pairs_of(*((row, column, 1.0) for row, column in hit))
    curve = curves_of(found, true, match_by_class(found, true, pairs, 100), 1, [100]).precision[0, :, 0, 0]
    # One of two is found: a recall of half.
    assert curve == pytest.approx(np.where(RECALLS <= 0.5, precision, 0))


@pytest.mark.parametrize("truths", [1, 3, 7, 100, 999])
def test_a_level_of_recall_is_reached_at_the_first_hit_that_divides_to_it(truths: int) -> None:
    hits = (truths + 1) // 2
    found, true = scored(*np.linspace(0.9, 0.1, hits)), scored(*[0] * truths)
    pairs = pairs_of(*((row, row, 1.0) for row in range(hits)))
    # Every other detection is wrong, so that precision tells which hit was taken.
    wrong = scored(*np.repeat(found.scores, 2))
    matches = match_by_class(wrong, true, Pairs(2 * pairs.found + 1, pairs.true, pairs.iou), 10_000)
    curve = curves_of(wrong, true, matches, 1, [10_000]).precision[0, :, 0, 0]
    recall = np.arange(1, hits + 1) / truths
    assert curve == pytest.approx(np.where(recall[-1] >= RECALLS, 0.5, 0))
