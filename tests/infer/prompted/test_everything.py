"""Everything at once finds what SAM's own generator finds, without its memory."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.errors import ConfigError
from everymask.infer.prompted.everything import Everything, keep_surest
from tests.infer.prompted.test_session import picture, small_model
from tests.models.prompted.random_sam import official_sam, own_of, predictor_of

LOW = Everything(points=4, min_score=0.1, min_stability=0.2, nms=0.98)


@pytest.mark.parametrize("size", [(157, 211), pytest.param((400, 90), marks=pytest.mark.slow)])
def test_what_is_kept_is_what_the_authors_generator_keeps(size: tuple[int, int]) -> None:
    segment_anything = pytest.importorskip("segment_anything", reason="segment-anything is the reference")
    sam, image = official_sam(), picture(*size)
    generator = segment_anything.SamAutomaticMaskGenerator(
        sam, points_per_side=8, pred_iou_thresh=0.1, stability_score_thresh=0.2, box_nms_thresh=0.985
    )
    theirs = generator.generate(image)
    model = predictor_of(own_of(sam.state_dict()))
    found = model.everything(image, Everything(points=8, min_score=0.1, min_stability=0.2, nms=0.985))
    assert len(found.instances) == len(theirs) > 3
    masks = found.instances.masks
    assert masks is not None and found.instances.scores is not None
    for row, other in enumerate(theirs):
        mine, his = masks.to_dense(row), other["segmentation"]
        assert (mine & his).sum() >= 0.999 * (mine | his).sum()
        assert found.instances.scores[row] == pytest.approx(min(1, other["predicted_iou"]), abs=1e-4)


@pytest.mark.parametrize("second", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_objects_come_surest_first_and_once(second: bool) -> None:
    found = small_model(4, second=second).everything(picture(), LOW).instances
    assert found.scores is not None and found.masks is not None and len(found) > 1
    assert (np.diff(found.scores) <= 0).all() and found.scores.min() > 0.1
    assert found.masks.areas().min() > 0


def test_where_nothing_is_sure_nothing_is_found() -> None:
    found = small_model().everything(picture(), Everything(points=2, min_stability=1, offset=1000))
    assert len(found.instances) == 0 and found.instances.size == (40, 60)


def test_pictures_of_one_pixel_are_searched() -> None:
    assert small_model().everything(picture(1, 1), Everything(points=1, min_score=0)).instances.size == (1, 1)


def test_suppression_keeps_the_surest() -> None:
    windows = np.array([[0, 0, 11, 11], [0, 0, 11, 9], [20, 0, 31, 11], [5, 5, 6, 6], [0, 0, 11, 11]])
    scores = np.array([0.5, 0.9, 0.1, 0.7, 0.9], np.float32)
    assert keep_surest(windows, scores, 0.7).tolist() == [1, 3, 2]
    # 10 x 8 of 10 x 10, which would be 9 of 11 rows with the pixels' outer edges.
    assert keep_surest(windows, scores, 0.81).tolist() == [1, 4, 3, 2]


@pytest.mark.parametrize(
    "wrong", [{"points": 0}, {"points": 1000}, {"nms": 2}, {"min_stability": float("nan")}, {"offset": -1}]
)
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Everything(**wrong)  # type: ignore[arg-type]
