"""Boundary PQ: panoptic quality whose overlap is the lesser of IoU and boundary IoU, written down by its definition."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from everymask.core.segmentation import PanopticMap
from everymask.errors import ConfigError
from everymask.metrics.panoptic.metric import PanopticMetric
from everymask.metrics.panoptic.scores import PanopticScores
from tests.metrics.panoptic.test_panoptic_metric import LABELS, moved, some_map
from tests.metrics.samples import named


def scored(*pairs: tuple[PanopticMap, PanopticMap]) -> PanopticScores:
    metric = PanopticMetric(LABELS, boundary=True)
    for index, (found, truth) in enumerate(pairs):
        metric.update(found, truth, named(f"{index:03}", truth.size))
    return metric.compute()


def border(mask: np.ndarray) -> np.ndarray:
    """The pixels that erosion takes away, as in the paper's code: one step for each 2 % of the diagonal."""
    steps = max(1, round(0.02 * math.hypot(*mask.shape)))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return mask & ~cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=steps)[1:-1, 1:-1].astype(bool)


def by_definition(pairs: list[tuple[PanopticMap, PanopticMap]]) -> float:
    """The mean PQ over classes; a pair of segments at a time."""
    sums = np.zeros((len(LABELS), 4))
    for found, truth in pairs:
        void, true_hit, found_hit = truth.ids == 0, set(), set()
        for t in truth.segments:
            for p in found.segments:
                a, b = truth.ids == t.id, found.ids == p.id
                if t.class_id != p.class_id or t.crowd:
                    continue
                areas = [(x & y).sum() / max(1, (x | (y & ~void)).sum()) for x, y in ((a, b), (border(a), border(b)))]
                if min(areas) > 0.5:
                    sums[t.class_id, :2] += min(areas), 1
                    true_hit.add(t.id)
                    found_hit.add(p.id)
        for t in truth.segments:
            sums[t.class_id, 2] += not t.crowd and t.id not in true_hit and (truth.ids == t.id).any()
        for p in found.segments:
            b = found.ids == p.id
            crowds = [t.id for t in truth.segments if t.crowd and t.class_id == p.class_id]
            ignored = (void | np.isin(truth.ids, crowds))[b].sum() > b.sum() / 2
            sums[p.class_id, 3] += p.id not in found_hit and b.any() and not ignored
    whole = sums[:, 1] + (sums[:, 2] + sums[:, 3]) / 2
    return float(np.mean([iou / count for iou, count in zip(sums[:, 0], whole, strict=True) if count]))


@pytest.mark.parametrize("size", [(24, 30), (70, 110)])
def test_it_is_what_the_definition_says(size: tuple[int, int]) -> None:
    truths = [some_map(index, size=size, crowd=True) for index in range(6)]
    pairs = [(moved(truth, index), truth) for index, truth in enumerate(truths)]
    scores = scored(*pairs)
    assert scores.every.pq == pytest.approx(by_definition(pairs), abs=1e-9)
    plain = PanopticMetric(LABELS)
    for index, (found, truth) in enumerate(pairs):
        plain.update(found, truth, named(f"{index:03}", truth.size))
    assert 0 < scores.every.pq < plain.compute().every.pq


def test_a_prediction_that_is_the_truth_has_all() -> None:
    truth = some_map(3)
    assert scored((truth, truth)).every.pq == 1


def test_names_say_that_it_is_of_boundaries() -> None:
    truth = some_map(0)
    scores = scored((moved(truth, 0), truth))
    assert scores.headline_name == "boundary PQ" and set(scores.brief) <= set(scores.numbers())
    assert scores.sentence("1 picture").startswith("boundary PQ 0.") and scores.tables()[0].columns[1] == "boundary PQ"
    with pytest.raises(ConfigError, match="boundary is True here"):
        PanopticMetric(LABELS, boundary=True).merge(PanopticMetric(LABELS))
