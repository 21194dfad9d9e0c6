"""Things and stuff become one map by Panoptic FPN's rules, tried on pictures made by hand."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, SemanticMap
from everymask.infer.decoding.panoptic import merge_panoptic
from everymask.models.specs.panoptic import PanopticFPN

SPEC = PanopticFPN(things=(1, 3), stuff_area=4)
SIZE = (10, 12)


def things(*rows: tuple[int, float, tuple[int, int, int, int]], size: tuple[int, int] = SIZE) -> InstanceSet:
    """Filled boxes (class, score, xyxy), in the order of their scores or not."""
    planes = np.zeros((len(rows), *size), bool)
    for plane, (_, _, (x1, y1, x2, y2)) in zip(planes, rows, strict=True):
        plane[y1:y2, x1:x2] = True
    masks = Masks.from_dense(planes)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return InstanceSet(masks.boxes().astype(np.float32), np.array([k for k, _, _ in rows], np.int64), scores, masks)


def stuff(ids: np.ndarray | int = 0) -> SemanticMap:
    return SemanticMap(np.broadcast_to(np.asarray(ids, np.uint8), SIZE).copy())


def told(found: PanopticMap) -> list[tuple[int, float | None, int]]:
    areas = found.areas()
    return [(one.class_id, None if one.score is None else round(one.score, 2), areas[one.id]) for one in found.segments]


def test_the_surest_thing_is_on_top() -> None:
    found = merge_panoptic(things((0, 0.6, (0, 0, 6, 5)), (1, 0.9, (4, 0, 8, 5))), stuff(), SPEC)
    assert told(found) == [(3, 0.9, 20), (1, 0.6, 20)]
    assert found.ids[0].tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0]


def test_things_that_are_unsure_or_mostly_covered_are_left_out() -> None:
    sure = (1, 0.9, (0, 0, 6, 4))
    unsure, just = (0, 0.49, (8, 0, 10, 2)), (0, 0.5, (8, 0, 10, 2))
    covered, half = (0, 0.8, (3, 0, 8, 4)), (0, 0.8, (3, 0, 9, 4))
    assert told(merge_panoptic(things(sure, unsure), stuff(), SPEC)) == [(3, 0.9, 24)]
    assert told(merge_panoptic(things(sure, just), stuff(), SPEC)) == [(3, 0.9, 24), (1, 0.5, 4)]
    assert told(merge_panoptic(things(sure, covered), stuff(), SPEC)) == [(3, 0.9, 24)]
    assert told(merge_panoptic(things(sure, half), stuff(), SPEC)) == [(3, 0.9, 24), (1, 0.8, 12)]
    assert told(merge_panoptic(things(sure, sure), stuff(), replace(SPEC, overlap=1.0))) == [(3, 0.9, 24)]


def test_stuff_takes_what_is_free_if_that_is_enough() -> None:
    """Classes 0, 2 and 4 are stuff: 1, 2 and 3 of the network; 0 stands for a thing that nobody found."""
    ids = np.zeros(SIZE, np.uint8)
    ids[:5], ids[5:8], ids[8, :4], ids[9, :3] = 1, 3, 2, 1
    found = merge_panoptic(things((0, 0.9, (0, 5, 12, 7))), stuff(ids), replace(SPEC, stuff_area=1000))
    # Two pixels (1/75 of the picture) would do: of the third class there are 12, of the second 4.
    assert told(found) == [(1, 0.9, 24), (0, None, 63), (2, None, 4), (4, None, 12)]
    small = merge_panoptic(things((0, 0.9, (0, 5, 12, 8))), stuff(ids), replace(SPEC, stuff_area=5))
    assert told(small) == [(1, 0.9, 36), (0, None, 63), (2, None, 4)]
    assert SPEC.least_stuff((480, 640)) == 4 and PanopticFPN().least_stuff((480, 640)) == 4096
    assert PanopticFPN().least_stuff((120, 160)) == 256 and PanopticFPN().least_stuff((4000, 3000)) == 4096


def test_ids_and_segments_agree_and_pixels_that_nobody_claims_have_none() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        corners = draw.integers(0, 8, (6, 2))
        rows = [
            (int(draw.integers(2)), float(draw.random()), (x, y, x + int(draw.integers(1, 5)), y + 3))
            for x, y in corners.tolist()
        ]
        found = merge_panoptic(things(*rows), stuff(draw.integers(0, 4, SIZE)), SPEC)
        assert set(np.unique(found.ids).tolist()) - {0} == {one.id for one in found.segments}
        assert [one.id for one in found.segments] == list(range(1, len(found.segments) + 1))
    nothing = merge_panoptic(InstanceSet.empty(SIZE, scored=True), stuff(), SPEC)
    assert nothing.segments == () and not nothing.ids.any()


def test_memory_does_not_grow_with_the_number_of_things() -> None:
    size, classes = (600, 800), SemanticMap(np.zeros((600, 800), np.uint8))
    small = [(0, 0.9, (5 * (k % 150), 5 * (k // 150), 5 * (k % 150) + 4, 5 * (k // 150) + 4)) for k in range(100)]
    found = things(*small, size=size)
    tracemalloc.start()
    merged = merge_panoptic(found, classes, SPEC)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(merged.segments) == 100 and peak < 40 * 600 * 800


@pytest.mark.parametrize(
    "wrong", [{"min_score": 1.1}, {"overlap": -1}, {"semantic_channels": 0}, {"fpn_stages": "last"}]
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    from everymask.errors import ConfigError

    with pytest.raises(ConfigError):
        PanopticFPN(**wrong)  # type: ignore[arg-type]
