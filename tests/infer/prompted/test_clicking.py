"""A network that answers prompts, asked for the objects of a truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.infer.prompted import clicking
from everymask.infer.prompted.clicking import answer_truth
from everymask.infer.prompted.outlines import outline_boxes
from everymask.metrics.prompted.clicks import next_click
from everymask.metrics.prompted.metric import CLICKS, PromptedSet
from everymask.tasks.task import Judging
from tests.infer.prompted.test_session import picture, small_model

LABELS = labels_of(["cat", "dog"])


def sample(*, crowd: bool = False) -> Sample:
    planes = np.zeros((3, 40, 60), bool)
    planes[0, 5:20, 3:30] = planes[1, 15:39, 25:59] = planes[2, :9, 40:] = True
    masks = Masks.from_dense(planes)
    truth = InstanceSet(masks.boxes(), np.array([1, 0, 1]), masks=masks, crowd=np.array([False, False, crowd]))
    return Sample(picture(), truth, "a")


def test_clicks_are_those_of_the_protocol_on_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicking, "CLICKS", 4)
    given, model = sample(), small_model()
    found = answer_truth(model.session(given), LABELS).segmentation
    assert isinstance(found, PromptedSet) and found.click_ious is not None
    truth = given.truth
    assert isinstance(truth, InstanceSet) and truth.masks is not None
    for row in range(3):
        session, shown, answer = model.session(given), truth.masks.to_dense(row), np.zeros((40, 60), bool)
        clicked: list[tuple[int, int]] = []
        for turn in range(4):
            click = next_click(shown, answer, np.array(clicked, np.int64).reshape(-1, 2))
            clicked.append((click.x, click.y))
            masks = session.predict(points=[clicked[-1]], labels=[int(click.positive)]).instances.masks
            assert masks is not None
            answer = masks.to_dense(0)
            iou = (shown & answer).sum() / (shown | answer).sum()
            assert found.click_ious[row, turn] == pytest.approx(iou, abs=1e-3)


def test_boxes_are_answered_for_each_object_that_is_no_crowd() -> None:
    given, model = sample(crowd=True), small_model()
    found = answer_truth(model.session(given), LABELS)
    answered = found.segmentation
    assert isinstance(answered, PromptedSet) and answered.masks is not None and answered.click_ious is not None
    assert answered.class_ids.tolist() == [1, 0] and answered.click_ious.shape == (2, CLICKS)
    assert isinstance(given.truth, InstanceSet)
    alone = outline_boxes(model.session(given), given.truth.boxes[:2])
    assert alone.masks is not None and (alone.masks.areas() == answered.masks.areas()).all()
    metric = model.named_after(LABELS).metrics(Judging())["prompts"]
    metric.update(answered, given.truth, given)
    assert 0 <= metric.compute().headline <= 1


def test_what_has_no_masks_is_not_clicked() -> None:
    given = sample()
    assert isinstance(given.truth, InstanceSet)
    boxes = replace(given, truth=replace(given.truth, masks=None))
    with pytest.raises(DataError, match="--outline MODEL"):
        answer_truth(small_model().session(boxes), LABELS)
    empty = replace(given, truth=InstanceSet.empty((40, 60)))
    assert len(answer_truth(small_model().session(empty), LABELS).instances) == 0
