"""A detector and a network that answers prompts as one model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everymask.api import load
from everymask.core.segmentation import InstanceSet
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.errors import ConfigError, DataError
from everymask.evaluate import compare, evaluate
from everymask.infer.predictor import Predictor
from everymask.infer.prompted import outlines
from everymask.infer.prompted.outlines import outline_boxes
from everymask.infer.prompted.segmenter import Segmenter
from everymask.infer.result import Result
from tests.infer.prompted.test_session import masks_of, picture, small_model

DETECTOR = load("otsu").with_objects()
BOXES = np.array([[5, 6, 30, 30], [-3, 0, 60, 44], [40, 20, 60, 40], [7, 7, 7, 20]], np.float32)


def test_each_box_of_the_detector_is_outlined_as_in_a_session() -> None:
    both, image = Segmenter(DETECTOR, small_model()), picture()
    boxes = both.detector.predict(image).instances.boxes
    found = both.predict(image)
    session = small_model().session(image).predict(boxes=boxes)
    assert len(boxes) > 0
    for mine, alone in zip(masks_of(found), masks_of(session), strict=True):
        np.testing.assert_array_equal(mine, alone)
    detected = both.detector.predict(image).instances.scores
    assert detected is not None and session.instances.scores is not None
    np.testing.assert_allclose(found.instances.scores, detected * session.instances.scores)
    np.testing.assert_array_equal(found.instances.boxes, boxes)
    assert found.labels == both.labels == both.detector.labels


def test_boxes_are_cut_to_the_picture_and_what_has_no_area_or_is_unsure_is_left_out() -> None:
    sample = DETECTOR.predict(picture()).sample
    detected = InstanceSet(BOXES, np.arange(4), np.array([0.9, 0.8, 0.2, 0.7], np.float32))
    found = Segmenter(DETECTOR, small_model(), least=0.5).outlined(Result(sample, detected, DETECTOR.labels))
    np.testing.assert_array_equal(found.instances.boxes, [[5, 6, 30, 30], [0, 0, 60, 40]])
    assert found.instances.class_ids.tolist() == [0, 1] and found.instances.masks is not None
    none = Segmenter(DETECTOR, small_model(), least=1.0).outlined(Result(sample, detected, DETECTOR.labels))
    assert len(none.instances) == 0 and none.instances.size == (40, 60)


def test_many_boxes_are_asked_in_chunks_and_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = np.repeat(BOXES[[0, 2]], 3, axis=0)
    whole = outline_boxes(small_model().session(picture()), boxes)
    monkeypatch.setattr(outlines, "_AT_ONCE", 4)
    session = small_model().session(picture())
    parts = outline_boxes(session, boxes)
    assert whole.masks is not None and parts.masks is not None and session.logits is None
    assert len(parts) == 6 and (parts.masks.areas() == whole.masks.areas()).all()


def test_it_is_judged_like_a_detector(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=2, val=2, size=48)
    both = Segmenter(DETECTOR, small_model())
    names = dict.fromkeys(read_dataset(tmp_path).labels.names, "foreground")
    report = evaluate(both, tmp_path, split="val", classes=names)
    assert {"box AP", "mask AP"} <= {*report.numbers()}
    assert evaluate(both.with_detections(1), tmp_path, split="val", classes=names).pictures == 2
    assert compare(both, DETECTOR, tmp_path, split="val", classes=names).num_pictures == 2


def test_a_picture_that_cannot_be_outlined_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    both, good = Segmenter(DETECTOR, small_model()), picture()
    calls: list[int] = []
    session = Predictor.session

    def broken(self: Predictor, source: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise DataError("broken")
        return session(self, source)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "session", broken)
    first, second = both.attempts([good, good])
    assert isinstance(first, DataError) and isinstance(second, Result)


def test_what_finds_no_objects_has_no_outlines() -> None:
    with pytest.raises(ConfigError, match="leave out outline"):
        Segmenter(load("otsu"), small_model())
