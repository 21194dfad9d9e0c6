"""A network that answers prompts, asked for the objects of a truth as a patient user would ask (RITM's protocol)."""

from __future__ import annotations

import time
from dataclasses import fields

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, expected
from everymask.errors import DataError, printable
from everymask.infer.prompted.outlines import outline_boxes
from everymask.infer.prompted.session import Session
from everymask.infer.result import Result
from everymask.metrics.prompted.clicks import Click, next_click, pointed_at
from everymask.metrics.prompted.metric import CLICKS, PromptedSet

_AT_ONCE = 16


def answer_truth(session: Session, labels: Labels) -> Result:
    """What is answered to the boxes of the true objects of a session's picture, and how good it gets by clicks.

    Each object that has pixels and is no crowd gets a box, and 20 clicks of its own; the objects keep their classes, of
    which `labels` are the names. `DataError` where the truth is no objects, or has boxes without masks.
    """
    started, sample = time.perf_counter(), session.sample
    where = printable(sample.file or sample.id)
    truth = expected(InstanceSet, sample.truth, where)
    if truth.masks is None:
        raise DataError(
            f"{where}: clicks are made where a mask is wrong, but the objects have boxes only",
            hint="make masks of the boxes: everymask convert DATA --to coco --outline MODEL",
        )
    rows = pointed_at(truth)
    masks = truth.masks[rows]
    boxed = outline_boxes(session, masks.boxes())
    ious = [_clicked(session, masks[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]
    columns = {column.name: getattr(boxed, column.name) for column in fields(boxed)}
    answered = PromptedSet(
        **columns | {"class_ids": truth.class_ids[rows]},
        click_ious=np.concatenate([np.zeros((0, CLICKS), np.float32), *ious]),
    )
    return Result(sample, answered, labels, time.perf_counter() - started)


def _clicked(session: Session, truth: Masks) -> FloatArray:
    """The IoU [N, 20] with each object after each click; all are clicked side by side."""
    found = Masks.from_dense(np.zeros((len(truth), *truth.size), np.bool_))
    clicks: list[list[Click]] = [[] for _ in range(len(truth))]
    ious = np.zeros((len(truth), CLICKS), np.float32)
    for turn in range(CLICKS):
        for row, made in enumerate(clicks):
            made.append(_next(truth, found, row, made))
        last = [made[-1] for made in clicks]
        points = [[(click.x, click.y)] for click in last]
        answer = session.predict(points=points, labels=[[int(click.positive)] for click in last]).instances
        assert answer.masks is not None
        found = answer.masks
        ious[:, turn] = [truth[row].iou(found[row])[0, 0] for row in range(len(truth))]
    session.reset()
    return ious


def _next(truth: Masks, found: Masks, row: int, made: list[Click]) -> Click:
    """The next click on an object; looked for where it or the answer is."""
    windows = np.stack([masks.windows[row] for masks in (truth, found) if masks.windows[row].any()])
    x1, y1 = windows[:, :2].min(axis=0).tolist()
    x2, y2 = windows[:, 2:].max(axis=0).tolist()
    shown, answered = (_within(masks, row, (x1, y1, x2, y2)) for masks in (truth, found))
    inside = [(click.x - x1, click.y - y1) for click in made if x1 <= click.x < x2 and y1 <= click.y < y2]
    clicked: IntArray = np.array(inside, np.int64).reshape(-1, 2)
    click = next_click(shown, answered, clicked)
    return Click(click.x + x1, click.y + y1, click.positive)


def _within(masks: Masks, row: int, window: tuple[int, int, int, int]) -> BoolArray:
    return masks[row].cut(window).to_dense(0)
