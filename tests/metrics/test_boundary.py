"""Boundary IoU (Cheng et al. 2021) against its definition, mask by mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.core.segmentation import SemanticMap
from everymask.metrics.boundary import boundary_pixels, boundary_width
from everymask.metrics.semantic import SemanticMetric
from tests.metrics.samples import named


def blobs(seed: int, size: tuple[int, int] = (60, 80), classes: int = 4) -> np.ndarray:
    """A label map of smooth regions."""
    noise = rng(seed, "blobs").normal(size=(*size, classes)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 6).argmax(axis=2).astype(np.uint8)


def inner_band(mask: np.ndarray, width: int) -> np.ndarray:
    """What eroding a mask `width` times by a 3 x 3 square takes away; outside the picture there is nothing."""
    framed = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    return mask & (eroded == 0)


@pytest.mark.parametrize("width", [1, 2, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_the_boundary_of_all_classes_at_once_is_that_of_each(width: int, dtype: type) -> None:
    ids = blobs(0).astype(dtype)
    expected = np.zeros(ids.shape, bool)
    for class_id in range(4):
        expected |= inner_band(ids == class_id, width)
    np.testing.assert_array_equal(boundary_pixels(ids, width), expected)
    assert 0 < expected.mean() < 1


def test_the_width_is_two_per_cent_of_the_diagonal() -> None:
    assert boundary_width((300, 400)) == 10
    assert boundary_width((3, 4)) == 1


def test_the_score_is_the_iou_of_the_inner_bands_of_each_class() -> None:
    labels = labels_of("abcd")
    truth, found = blobs(0), blobs(1)
    truth[20:30, 10:50] = labels.ignore
    width = boundary_width(truth.shape)
    metric = SemanticMetric(labels)
    metric.update(SemanticMap(found), SemanticMap(truth), named("p", truth.shape))
    scores = metric.compute()
    expected = []
    for class_id in range(4):
        true, drawn = (inner_band((ids == class_id) & (truth != labels.ignore), width) for ids in (truth, found))
        expected.append(np.count_nonzero(true & drawn) / np.count_nonzero(true | drawn))
    np.testing.assert_allclose([row.boundary_iou for row in scores.per_class.values()], expected)
    assert scores.mean_boundary_iou == pytest.approx(np.mean(expected))


def test_a_shift_costs_a_large_object_more_at_its_boundary() -> None:
    truth, found = np.zeros((2, 400, 400), np.uint8)
    truth[50:350, 50:350] = 1
    found[56:356, 50:350] = 1
    metric = SemanticMetric(labels_of("ab"))
    metric.update(SemanticMap(found), SemanticMap(truth), named("p", truth.shape))
    row = metric.compute().per_class["b"]
    assert row.iou > 0.95
    assert row.boundary_iou < 0.75
