"""What is remembered of an object is what SAM 2 reads in a frame, and nothing else."""

from __future__ import annotations

import numpy as np

from everymask.infer.decoding.video import FollowedArrays
from everymask.infer.prompted.remembered import ObjectMemory

COUNT = 100


def found(frame: int) -> FollowedArrays:
    """What became of a frame, whose numbers tell which it was."""
    return FollowedArrays(
        np.zeros((4, 4), np.float32), 1.0, 1.0, np.full((2, 1, 1), frame, np.uint16), np.full(3, frame, np.float32)
    )


def passed(prompts: tuple[int, ...], frames: range) -> ObjectMemory:
    memory = ObjectMemory()
    for frame in prompts:
        memory.prompt(frame, found(frame))
    for frame in frames:
        if frame not in prompts:
            memory.keep(frame, found(frame))
    return memory


def recalled(
    memory: ObjectMemory, frame: int, *, reverse: bool = False, count: int = COUNT
) -> dict[str, list[tuple[int, int]]]:
    """Which frames, with their ages."""
    seen = memory.recall(frame, count, reverse=reverse)
    assert seen is not None
    maps, pointers = seen.maps[:, 0, 0, 0].tolist(), seen.pointers[:, 0].astype(int).tolist()
    return {
        "maps": sorted(zip(maps, seen.map_ages.tolist(), strict=True)),
        "pointers": sorted(zip(pointers, seen.pointer_ages.astype(int).tolist(), strict=True)),
    }


def test_the_frames_before_and_those_with_prompts_are_recalled() -> None:
    seen = recalled(passed((3, 40), range(3, 30)), 30)
    assert seen["maps"] == [(3, 0), (24, 6), (25, 5), (26, 4), (27, 3), (28, 2), (29, 1), (40, 0)]
    # Pointers of the future are none.
    assert seen["pointers"] == [(3, 27), *((30 - age, age) for age in range(15, 0, -1))]


def test_backwards_the_frames_behind_are_recalled() -> None:
    seen = recalled(passed((10,), range(10, 60)), 9, reverse=True)
    assert seen["maps"] == [(10, 0), (11, 2), (12, 3), (13, 4), (14, 5), (15, 6)]
    assert seen["pointers"] == [(frame, frame - 9) for frame in range(10, 25)]


def test_short_videos_have_fewer_pointers() -> None:
    memory = passed((0,), range(5))
    seen = memory.recall(5, 6, reverse=False)
    assert seen is not None and seen.oldest == 5 and sorted(seen.pointer_ages.tolist()) == [1, 2, 3, 4, 5]
    long = memory.recall(5, COUNT, reverse=False)
    assert long is not None and long.oldest == 15


def test_what_is_not_read_again_is_forgotten_and_what_was_reached_known() -> None:
    memory = passed((0,), range(90))
    assert sorted(memory.passed) == [*range(1, 7), *range(83, 90)]
    assert sorted(memory.pointers) == [*range(1, 16), *range(74, 90)]
    assert memory.has_reached(40) and not memory.has_reached(0) and not memory.has_reached(90)
    assert recalled(memory, 40)["maps"] == [(0, 0)]
    memory.prompt(40, found(40))
    memory.reach(0)
    assert memory.has_reached(0)
    assert 40 in memory.prompted and recalled(memory, 41)["maps"] == [(0, 0), (40, 0)]


def test_nothing_is_recalled_before_the_first_prompt_and_no_pointers_of_later_ones() -> None:
    assert ObjectMemory().recall(3, COUNT, reverse=False) is None
    seen = passed((8,), range(0)).recall(3, COUNT, reverse=False)
    assert seen is not None and seen.pointers.shape == (0, 3) and seen.map_ages.tolist() == [0]
