"""What two windows say of one place, where they do not agree; tried on windows made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.joining.grid import Grid, Stretch
from everymask.core.joining.objects import JoinedObjects
from everymask.core.joining.segments import JoinedSegments
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment
from everymask.errors import ConfigError

# Two windows of 12 x 4 pixels in a picture of 20 x 4: they share 8 to 12, see 9 to 11 well, and meet at 10.
GRID = Grid((4, 20), (Stretch(0, 4, 0, 4),), (Stretch(0, 12, 0, 11), Stretch(8, 20, 9, 20)))
LABELS = Labels(("car", "bus", "road"), things=frozenset({0, 1}))


def row(text: str, *things: tuple[int, float]) -> PanopticMap:
    """A window, each of whose rows is `text`: digits are things by their place, `r` is road, `.` nothing."""
    ids = np.array([[9 if c == "r" else 0 if c == "." else int(c) for c in text]] * 4, np.int32)
    segments = [Segment(number, class_id, score) for number, (class_id, score) in enumerate(things, 1)]
    return PanopticMap(ids, (*segments, Segment(9, 2)))


def joined(left: PanopticMap, right: PanopticMap) -> tuple[str, list[tuple[int, float | None]]]:
    """A row of the map, and the classes and scores of its segments."""
    both = JoinedSegments(GRID, LABELS)
    both.add(left, 0, 0)
    both.add(right, 0, 1)
    found = both.finished()
    assert (found.ids == found.ids[0]).all()
    shown = "".join(".123456789"[k] for k in found.ids[0].tolist())
    return shown, [(one.class_id, one.score) for one in found.segments]


def test_things_that_agree_in_the_middle_are_one_and_as_sure_as_the_surest() -> None:
    shown, segments = joined(row("rrrr11111111", (0, 0.6)), row("1111111rrrrr", (0, 0.9)))
    assert shown == "2222" + "1" * 11 + "22222"
    assert segments == [(0, 0.9), (2, None)]


def test_a_thing_that_windows_call_differently_is_one_of_the_class_that_more_speaks_for() -> None:
    shown, segments = joined(row("rrrr11111111", (0, 0.9)), row("1111111rrrrr", (1, 0.6)))
    assert shown == "2222" + "1" * 11 + "22222"
    assert segments == [(0, 0.9), (2, None)]
    assert joined(row("rrrr11111111", (0, 0.4)), row("1111111rrrrr", (1, 0.6)))[1] == [(1, 0.6), (2, None)]


def test_objects_of_other_classes_are_not_one() -> None:
    planes = np.zeros((1, 4, 12), np.bool_)
    both = JoinedObjects(GRID)
    for column, (start, stop, class_id) in enumerate([(4, 12, 0), (0, 7, 1)]):
        masks = Masks.from_dense(planes | ((np.arange(12) >= start) & (np.arange(12) < stop)))
        both.add(InstanceSet(masks.boxes(), np.array([class_id]), np.array([0.5], np.float32), masks), 0, column)
    assert both.finished().boxes.tolist() == [[4, 0, 12, 4], [8, 0, 15, 4]]


def test_a_thing_that_one_window_sees_is_kept_whole_where_most_of_it_is_its_own() -> None:
    assert joined(row("rrrrrrr1111r", (0, 0.6)), row("rrrrrrrrrrrr"))[0] == "2222222" + "1111" + "2" * 9
    # Of the other window's road it takes what is no thing there.
    assert joined(row("rrrrrrrr111r", (0, 0.6)), row("rr1rrrrrrrrr", (1, 0.6)))[0] == "22222222113" + "2" * 9


def test_a_thing_is_for_the_neighbour_to_say_where_most_of_it_is_there() -> None:
    shown, segments = joined(row("rrrrrrrrr111", (0, 0.6)), row("rrrrrrrrrrrr"))
    assert shown == "1" * 9 + "." + "1" * 10 and segments == [(2, None)]
    # The neighbour sees something else there, which begins a pixel later.
    shown, segments = joined(row("rrrrrrrrr111", (0, 0.6)), row("rr1111rrrrrr", (1, 0.7)))
    assert shown == "1" * 9 + "." + "2222" + "1" * 6 and segments == [(2, None), (1, 0.7)]


def test_what_two_windows_leave_to_each_other_stays_once() -> None:
    planes = np.zeros((1, 4, 12), np.bool_)

    def found(*seen: tuple[int, int, int]) -> InstanceSet:
        both = JoinedObjects(GRID)
        for column, (start, stop, class_id) in enumerate(seen):
            masks = Masks.from_dense(planes | ((np.arange(12) >= start) & (np.arange(12) < stop)))
            both.add(InstanceSet(masks.boxes(), np.array([class_id]), np.array([0.5], np.float32), masks), 0, column)
        return both.finished()

    # Half of it is on either side of the seam, and the windows differ over its class.
    halves = found((9, 11, 0), (1, 3, 1))
    assert (halves.boxes.tolist(), halves.class_ids.tolist()) == ([[9, 0, 11, 4]], [0])
    # Each sees most of it at the other's side: that stays of which more is the window's own.
    assert found((10, 11, 0), (1, 3, 1)).class_ids.tolist() == [1]
    assert found((9, 11, 0), (1, 2, 1)).class_ids.tolist() == [0]
    # What a window cuts off is seen better elsewhere; and what a neighbour keeps needs nobody else.
    assert len(found((9, 12, 0), (0, 3, 1))) == 0
    assert found((9, 11, 0), (1, 6, 1)).class_ids.tolist() == [1]


def test_a_thing_may_go_through_many_windows() -> None:
    stretches = Stretch(0, 12, 0, 11), Stretch(8, 20, 9, 19), Stretch(16, 28, 17, 28)
    grid = Grid((28, 28), stretches, stretches)
    frame = np.zeros((28, 28), np.int32)
    frame[3:26, 3:26] = 1
    frame[6:23, 6:23] = 0
    both = JoinedSegments(grid, LABELS)
    for y, r in enumerate(stretches):
        for x, c in enumerate(stretches):
            both.add(PanopticMap(frame[r.start : r.stop, c.start : c.stop], (Segment(1, 0, 0.5),)), y, x)
    found = both.finished()
    np.testing.assert_array_equal(found.ids, frame)
    assert found.segments == (Segment(1, 0, 0.5),)


def test_objects_that_nobody_confirms_are_kept_by_the_window_that_has_most_of_them() -> None:
    def objects(text: str, *scores: float) -> InstanceSet:
        masks = Masks.from_dense(np.array([[[c == str(k) for c in text]] * 4 for k in range(1, len(scores) + 1)]))
        return InstanceSet(masks.boxes(), np.zeros(len(scores), np.int64), np.array(scores, np.float32), masks)

    both = JoinedObjects(GRID)
    both.add(objects("..33....1112", 0.6, 0.9, 0.3), 0, 0)
    both.add(objects("...22222....", 0.7, 0.8)[[1]], 0, 1)
    found = both.finished()
    # The second of the left window is the right one's: it saw more of it.
    assert found.boxes.tolist() == [[11, 0, 16, 4], [8, 0, 11, 4], [2, 0, 4, 4]]
    assert found.scores.tolist() == pytest.approx([0.8, 0.6, 0.3]) and found.masks.areas().tolist() == [20, 12, 8]


def test_nothing_found_is_nothing_joined() -> None:
    both = JoinedObjects(GRID)
    for column in range(2):
        both.add(InstanceSet.empty((4, 12), scored=True), 0, column)
    assert len(both.finished()) == 0 and both.finished().masks.size == (4, 20)
    assert joined(row("." * 12), row("." * 12)) == ("." * 20, [])


def test_windows_that_share_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing in common"):
        Grid((4, 20), (Stretch(0, 4, 0, 4),), (Stretch(0, 10, 0, 10), Stretch(10, 20, 10, 20)))


@pytest.mark.slow
def test_more_things_than_16_bits_number() -> None:
    size = (260, 260)
    one = Stretch(0, 260, 0, 260)
    whole = JoinedSegments(Grid(size, (one,), (one,)), LABELS)
    ids = np.arange(260 * 260, dtype=np.int32).reshape(size)
    whole.add(PanopticMap(ids, tuple(Segment(number, 0) for number in range(1, 260 * 260))), 0, 0)
    np.testing.assert_array_equal(whole.finished().ids, ids)
