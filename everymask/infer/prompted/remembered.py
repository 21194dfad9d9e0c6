"""What is remembered of an object in a video: of the frames that may be read again, and of no others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.infer.decoding.video import FollowedArrays, RecalledArrays
from everymask.models.specs.prompted import MAPS_KEPT, POINTERS_KEPT

_MAPS_NEAR = MAPS_KEPT - 1
_POINTERS_NEAR = POINTERS_KEPT - 1


@dataclass(slots=True, eq=False)
class ObjectMemory:
    """An object: `prompted` are the frames in which it was pointed at, `passed` and `pointers` those in which it was
    followed.

    Of the latter what is kept lies within six frames (pointers: fifteen) of the frame that was followed last, or of one
    that was pointed at, as a pass forwards or backwards may begin there. That is all that SAM 2 reads, so that answers
    are those of a memory that keeps everything; only who goes back into the middle of what was passed long ago finds
    nothing there but the frames with prompts. `reached` are the first and the last frame that was passed.
    """

    prompted: dict[int, FollowedArrays] = field(default_factory=dict)
    passed: dict[int, FollowedArrays] = field(default_factory=dict)
    pointers: dict[int, FloatArray] = field(default_factory=dict)
    reached: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """What it takes of memory."""
        whole = (*self.prompted.values(), *self.passed.values())
        maps = sum(each.map.nbytes + each.logits.nbytes for each in whole)
        return maps + sum(each.pointer.nbytes for each in whole) + sum(each.nbytes for each in self.pointers.values())

    def prompt(self, frame: int, found: FollowedArrays) -> None:
        """Keep what prompts made of a frame."""
        self.prompted[frame] = found
        self.passed.pop(frame, None)
        self.pointers.pop(frame, None)

    def keep(self, frame: int, found: FollowedArrays) -> None:
        """Keep what became of a frame without prompts, and forget what is no longer read."""
        self.passed[frame], self.pointers[frame] = found, found.pointer
        self.reach(frame)
        starts = (frame, *self.prompted)
        for kept, reach in ((self.passed, _MAPS_NEAR), (self.pointers, _POINTERS_NEAR)):
            for other in [each for each in kept if all(abs(each - start) > reach for start in starts)]:
                del kept[other]

    def reach(self, frame: int) -> None:
        """A frame was passed, with prompts or without."""
        low, high = self.reached or (frame, frame)
        self.reached = min(low, frame), max(high, frame)

    def has_reached(self, frame: int) -> bool:
        """Whether that frame was passed."""
        return self.reached is not None and self.reached[0] <= frame <= self.reached[1]

    def recall(self, frame: int, count: int, *, reverse: bool) -> RecalledArrays | None:
        """What SAM 2 recalls in a frame of a video of `count` frames; None where nothing was pointed at yet.

        Maps: of all frames with prompts, and of the six before this one (after it, in `reverse`). Pointers: of the
        frames with prompts that lie there, and of the fifteen last ones.
        """
        if not self.prompted:
            return None
        way = -1 if reverse else 1
        maps, map_ages = [each.map for each in self.prompted.values()], [0] * len(self.prompted)
        for age in range(_MAPS_NEAR, 0, -1):
            if (found := self.passed.get(frame - way * age)) is not None:
                maps.append(found.map)
                map_ages.append(age)
        known = {way * (frame - other): each.pointer for other, each in self.prompted.items()}
        pointers = {age: pointer for age, pointer in known.items() if age >= 0}
        most = min(count, POINTERS_KEPT)
        for age in range(1, most):
            if (pointer := self.pointers.get(frame - way * age)) is not None:
                pointers[age] = pointer
        width = next(iter(self.prompted.values())).pointer.shape
        stacked = np.stack(list(pointers.values())) if pointers else np.zeros((0, *width), np.float32)
        ages = np.array(list(pointers), np.float32)
        return RecalledArrays(np.stack(maps), np.array(map_ages, np.int64), stacked, ages, max(1, most - 1))
