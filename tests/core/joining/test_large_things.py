"""Things larger than a window: what a look at the whole picture adds to what windows found; tried by hand."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.joining.objects import JoinedObjects
from everymask.core.joining.segments import JoinedSegments
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment
from tests.core.joining.test_joined_things import GRID, LABELS, row

WHOLE = (4, 20)


def shrunk(start: int, stop: int, class_id: int, score: float) -> PanopticMap:
    """The whole picture at half its size: a thing from column `start` to `stop` of 10."""
    ids = np.full((2, 10), 9, np.int32)
    ids[:, start:stop] = 1
    return PanopticMap(ids, (Segment(1, class_id, score), Segment(9, 2)))


def joined(left: PanopticMap, right: PanopticMap, whole: PanopticMap) -> tuple[str, list[tuple[int, float | None]]]:
    """A row of the map, and the classes and scores of its segments."""
    both = JoinedSegments(GRID, LABELS)
    both.add(left, 0, 0)
    both.add(right, 0, 1)
    both.add_whole(whole, whole.size)
    found = both.finished()
    assert (found.ids == found.ids[0]).all()
    shown = "".join(".123456789"[k] for k in found.ids[0].tolist())
    return shown, [(one.class_id, one.score) for one in found.segments]


def test_a_large_thing_takes_the_place_of_its_pieces_and_of_stuff() -> None:
    shown, segments = joined(row("rr1111111111", (1, 0.75)), row("rrrrrrrrrrrr"), shrunk(2, 10, 0, 0.875))
    # The piece began two pixels before what the look at the whole picture saw.
    assert shown == "22" + "1" * 18 and segments == [(0, 0.875), (2, None)]


def test_what_windows_saw_to_its_end_stays_before_a_large_thing() -> None:
    shown, segments = joined(row("rr1111111111", (0, 0.75)), row("rrrrrr11rrrr", (1, 0.75)), shrunk(1, 10, 0, 0.875))
    assert shown == "22" + "1" * 12 + "33" + "1" * 4
    assert segments == [(0, 0.875), (2, None), (1, 0.75)]


def test_a_large_thing_that_windows_saw_to_its_end_is_theirs() -> None:
    left, right = row("rr1111111111", (0, 0.75)), row("1111111111rr", (0, 0.5))
    shown, segments = joined(left, right, shrunk(1, 10, 0, 1.0))
    assert shown == "22" + "1" * 16 + "22" and segments == [(0, 0.75), (2, None)]


def test_things_that_fit_into_a_window_are_for_windows_to_say() -> None:
    shown, segments = joined(row("rr11rrrrrrrr", (0, 0.75)), row("rrrrrrrrrrrr"), shrunk(3, 9, 0, 1.0))
    assert shown == "22" + "11" + "2" * 16 and segments == [(0, 0.75), (2, None)]


def test_more_things_than_two_bytes_number_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    both = JoinedSegments(GRID, LABELS)
    left = row("rr1111111111", (1, 0.75))
    for column, found in enumerate((left, row("rrrrrrrrrrrr"))):
        both.add(found, 0, column)
    monkeypatch.setattr(both, "_hold", lambda most: setattr(both, "_ids", both._ids.astype(np.int32)))
    both.add_whole(shrunk(1, 10, 0, 0.5), (2, 10))
    assert both.finished().ids.dtype == np.int32


def spans(size: tuple[int, int], *things: tuple[int, int, int, float], outlined: bool = True) -> InstanceSet:
    """Objects from one column to another, with class and score."""
    columns = np.arange(size[1])
    planes = [np.tile((columns >= start) & (columns < stop), (size[0], 1)) for start, stop, _, _ in things]
    masks = Masks.from_dense(np.array(planes, np.bool_).reshape(-1, *size))
    class_ids, scores = np.array([one[2] for one in things], np.int64), np.array([one[3] for one in things], np.float32)
    return InstanceSet(masks.boxes(), class_ids, scores, masks if outlined else None)


def found_by(left: InstanceSet, right: InstanceSet, whole: InstanceSet, size: tuple[int, int]) -> list[list[float]]:
    """Where objects begin and end, their class and score."""
    both = JoinedObjects(GRID)
    both.add(left, 0, 0)
    both.add(right, 0, 1)
    both.add_whole(whole, size)
    found = both.finished()
    assert found.scores is not None
    if found.masks is not None:
        np.testing.assert_array_equal(found.masks.boxes(), found.boxes)
    return [
        [box[0], box[2], k, score]
        for box, k, score in zip(found.boxes.tolist(), found.class_ids.tolist(), found.scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("outlined", [True, False])
def test_large_objects_take_the_place_of_their_pieces(outlined: bool) -> None:
    left = spans((4, 12), (2, 12, 0, 0.75), (3, 5, 0, 0.25), outlined=outlined)
    right = spans((4, 12), (0, 12, 1, 0.5), outlined=outlined)
    whole = spans((2, 10), (2, 10, 0, 0.875), outlined=outlined)
    # The mask has what its piece saw; a box is the one of the whole picture.
    start = 2 if outlined else 4
    assert found_by(left, right, whole, (2, 10)) == [[start, 20, 0, 0.875], [3, 5, 0, 0.25]]


def test_surer_pieces_stay() -> None:
    shown, segments = joined(row("rr1111111111", (1, 0.75)), row("rrrrrrrrrrrr"), shrunk(2, 10, 0, 0.625))
    assert shown == "22" + "1" * 10 + "3" * 8 and segments == [(1, 0.75), (2, None), (0, 0.625)]
    pieces = spans((4, 12), (2, 12, 0, 0.75))
    found = found_by(pieces, spans((4, 12)), spans((2, 10), (2, 10, 0, 0.625)), (2, 10))
    assert found == [[2, 12, 0, 0.75], [4, 20, 0, 0.625]]


def test_unsure_large_objects_take_no_place() -> None:
    pieces = spans((4, 12), (2, 12, 0, 0.25))
    found = found_by(pieces, spans((4, 12)), spans((2, 10), (2, 10, 0, 0.375)), (2, 10))
    assert found == [[4, 20, 0, 0.375], [2, 12, 0, 0.25]]


def test_large_objects_that_windows_saw_to_their_end_are_theirs() -> None:
    left, right = spans((4, 12), (2, 12, 0, 0.75)), spans((4, 12), (0, 10, 0, 0.5))
    assert found_by(left, right, spans((2, 10), (1, 10, 0, 1.0)), (2, 10)) == [[2, 18, 0, 0.75]]
    # Of another class it is another object.
    assert found_by(left, right, spans((2, 10), (1, 10, 1, 1.0)), (2, 10)) == [[2, 20, 1, 1.0], [2, 18, 0, 0.75]]


def test_large_masks_are_enlarged_by_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0).random((1, 30, 20)) < 0.5
    by_parts = Masks.from_dense(drawn).resize((700, 90))
    monkeypatch.setattr("everymask.core.masks._ROWS_AT_ONCE", 1000)
    at_once = Masks.from_dense(drawn).resize((700, 90))
    np.testing.assert_array_equal(by_parts.to_dense(0), at_once.to_dense(0))
    assert 0.4 < by_parts.to_dense(0).mean() < 0.6
