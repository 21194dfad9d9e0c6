"""J and F are those of the DAVIS benchmark: against its definition, written out pixel by pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.metrics.video.contours import contour, contour_accuracy, region_similarity
from everymask.metrics.video.metric import TrackMetric


def blob(seed: int, size: tuple[int, int] = (37, 61)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4) > 0


def contour_by_pixels(mask: np.ndarray) -> set[tuple[int, int]]:
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(b < height and a < width and mask[b, a] != mask[y, x] for b, a in others):
                found.add((y, x))
    return found


def accuracy_by_pixels(found: np.ndarray, truth: np.ndarray) -> float:
    radius = math.ceil(0.008 * math.hypot(*found.shape))
    mine, true = contour_by_pixels(found), contour_by_pixels(truth)

    def near(some: set[tuple[int, int]], others: set[tuple[int, int]]) -> float:
        return sum(any((y - b) ** 2 + (x - a) ** 2 <= radius**2 for b, a in others) for y, x in some) / len(some)

    precision, recall = near(mine, true), near(true, mine)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_contours_are_those_of_the_definition(seed: int) -> None:
    found, truth = blob(seed), blob(seed + 10)
    assert set(zip(*map(np.ndarray.tolist, np.nonzero(contour(found))), strict=True)) == contour_by_pixels(found)
    assert contour_accuracy(found, truth) == pytest.approx(accuracy_by_pixels(found, truth), abs=1e-12)
    assert 0.05 < contour_accuracy(found, truth) < 0.95
    assert region_similarity(found, truth) == pytest.approx((found & truth).sum() / (found | truth).sum())


def test_near_grows_with_the_picture() -> None:
    truth = np.zeros((300, 400), np.bool_)
    truth[100:200, 100:200] = True
    shifted = [contour_accuracy(np.roll(truth, step, axis=1), truth) for step in range(7)]
    assert shifted[0] == shifted[4] == 1 > shifted[5]  # 0.008 of a diagonal of 500: 4 pixels


def test_empty_masks() -> None:
    some, none = blob(0), np.zeros((37, 61), np.bool_)
    assert (region_similarity(none, none), contour_accuracy(none, none)) == (1, 1)
    assert (region_similarity(some, none), contour_accuracy(some, none)) == (0, 0)
    assert (region_similarity(none, some), contour_accuracy(none, some)) == (0, 0)


def objects(masks: dict[int, np.ndarray], size: tuple[int, int] = (37, 61)) -> InstanceSet:
    dense = np.array(list(masks.values()), np.bool_).reshape(-1, *size)
    found = Masks.from_dense(dense)
    return InstanceSet(found.boxes(), np.zeros(len(found), np.int64), None, found, np.array(list(masks), np.int64))


def sample(frame: int) -> Sample:
    return Sample(np.zeros((37, 61, 3), np.uint8), id=f"f{frame}")


def test_objects_are_known_by_their_numbers_and_frames_counted_as_davis_does() -> None:
    metric, whole = TrackMetric(), TrackMetric(whole=True)
    for frame in range(12):
        truth = objects({1: blob(1), 2: blob(2)} if frame < 6 else {1: blob(1)})
        good = {2: blob(2)} if frame < 6 else {}
        found = objects(good | {9: blob(5)} | ({1: blob(3)} if frame in (8, 9) else {1: blob(1)}))
        for each in (metric, whole):
            each.update(found, truth, sample(frame))
    scores = metric.compute()
    assert scores.objects == (1, 2) and scores.frames == tuple(f"f{frame}" for frame in range(1, 11))
    assert len(whole.compute().frames) == 12
    other_j, other_f = region_similarity(blob(3), blob(1)), contour_accuracy(blob(3), blob(1))
    assert other_j < 0.5
    expected_j, expected_f = (8 + 2 * other_j) / 10, (8 + 2 * other_f) / 10
    assert scores.by_object()[1] == pytest.approx((expected_j, expected_f)) and scores.by_object()[2] == (1, 1)
    numbers = scores.numbers()
    assert numbers["J"] == pytest.approx((1 + expected_j) / 2) and numbers["F"] == pytest.approx((1 + expected_f) / 2)
    assert numbers["J&F"] == pytest.approx((numbers["J"] + numbers["F"]) / 2)
    assert numbers["J recall"] == pytest.approx((1 + 0.8) / 2)
    # Ten frames are cut at 0, 2, 5, 7 and 9: the last quarter has frames 7, 8 and 9.
    assert numbers["J decay"] == pytest.approx(0.5 * (1 - (2 * other_j + 1) / 3))


def test_parts_of_a_video_are_merged_and_nothing_counts_twice() -> None:
    parts, whole = [TrackMetric(), TrackMetric()], TrackMetric()
    for frame in range(11, -1, -1):
        for each in (parts[frame % 2], whole):
            each.update(objects({1: blob(frame)}), objects({1: blob(1)}), sample(frame))
    parts[0].merge(parts[1])
    assert parts[0].compute().frames == whole.compute().frames
    np.testing.assert_array_equal(parts[0].compute().regions, whole.compute().regions)
    with pytest.raises(DataError, match="scored before"):
        whole.update(objects({}), objects({}), sample(3))
    unnumbered = InstanceSet.empty((37, 61))
    with pytest.raises(DataError, match="no numbers"):
        whole.update(unnumbered, objects({}), sample(99))
    assert math.isnan(TrackMetric().compute().numbers()["J&F"])
