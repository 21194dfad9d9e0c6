"""Windows with a look at the whole picture beside them: things that no window holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from everymask.core.arrays import Array
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.feed.resample import resized
from everymask.infer.decoding.outputs import Wanted
from everymask.infer.result import Result
from everymask.infer.shrunk import Shrunk
from everymask.infer.tiling import Tiling, strips_of
from tests.infer.test_joined import OBJECTS, PANOPTIC, Seen, picture

SIZE = (300, 420)


def blind_at_edges(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """Windows of `size` show no disc that reaches their edge, as detectors miss what is cut; other pictures do."""
    found = Seen.segmentation

    def seen(self: Seen, index: int, wanted: Wanted) -> Any:
        what = found(self, index, wanted)
        if wanted.placements[index].original != size:
            return what
        masks = what.regions().masks
        inside = (masks.windows[:, :2] > 0).all(axis=1) & (masks.windows[:, 2:] < size[::-1]).all(axis=1)
        if self.objects:
            return what[inside]
        kept = [one for one, whole in zip(what.segments, inside.tolist(), strict=True) if whole or one.class_id]
        return replace(what, ids=np.where(np.isin(what.ids, [one.id for one in kept]), what.ids, 0), segments=(*kept,))

    monkeypatch.setattr(Seen, "segmentation", seen)


def large_and_small() -> Array:
    """A disc of 160 pixels and small ones beside it, which disappear when the picture is shrunk."""
    image = np.full(SIZE, 20, np.uint8)
    cv2.circle(image, (200, 150), 80, 250, -1)
    for x in (20, 85, 300, 400):
        cv2.circle(image, (x, 41), 2, 230, -1)
    return image


@pytest.mark.parametrize("predictor", [PANOPTIC, OBJECTS])
def test_a_thing_that_no_window_holds_comes_from_the_whole_picture(
    predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = large_and_small()
    once = predictor.predict(image)
    blind_at_edges(monkeypatch, (64, 64))
    without, together = (predictor.predict(image, tiling=Tiling(64, whole=whole)) for whole in (False, True))
    assert disc_of(once) == 1 and disc_of(without) == 0 and disc_of(together) > 0.93
    for x in (20, 85, 300, 400):
        np.testing.assert_array_equal(*(one.to_ids()[30:50, x - 5 : x + 5] > 0 for one in (once, together)))
    assert set(together.to_ids().ravel()) - {0} == set(once.to_ids().ravel()) - {0}


def disc_of(result: Result) -> float:
    """The IoU of what is found in the middle of the large disc with it."""
    ids = result.to_ids()
    there = (ids == ids[150, 200]) & (ids > 0)
    truth = cv2.circle(np.zeros(SIZE, np.uint8), (200, 150), 80, 1, -1) > 0
    return float((there & truth).sum() / (there | truth).sum())


@pytest.mark.parametrize("rule", ["none", "detectron2"])
def test_strips_are_shrunk_as_the_whole_picture_is(rule: Any) -> None:
    image = picture((301, 427), seed=1)[..., None].astype(np.uint8)
    preprocess = Preprocess(1, 1.0, (0.0,), (1.0,), Resize(40, 64, rule), divisor=8)
    strips = strips_of(image)
    shrunk, steps = Shrunk(strips, preprocess, 64), np.random.default_rng(0)
    while len(rows := strips.read(int(steps.integers(1, 40)))):
        shrunk.add(rows)
    found = shrunk.picture()
    assert found.shape == (45 if rule == "none" else 40, 64 if rule == "none" else 57, 1) and found.dtype == np.uint8
    whole = resized(image, found.shape[:2], "shrink").astype(int)
    assert np.abs(found.astype(int) - whole).mean() < 3
    once = Shrunk(strips, preprocess, 64)
    once.add(image)
    np.testing.assert_array_equal(once.picture(), found)
