"""Objects that are followed through a video, from the frames in which somebody has pointed at them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymask.core.arrays import Array
from everymask.core.masks import Masks
from everymask.core.memory import room_for
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, counted
from everymask.infer.decoding.prompted import decode_masks
from everymask.infer.decoding.video import FollowedArrays, Sought
from everymask.infer.prompted.frames import Frames
from everymask.infer.prompted.looks import Looks
from everymask.infer.prompted.prompts import Numbers, Prompts, check_positive, check_prompts
from everymask.infer.prompted.remembered import ObjectMemory
from everymask.infer.prompted.session import SMALLER, Seen, look_at
from everymask.infer.result import Result
from everymask.infer.running import Running
from everymask.models.specs.prompted import SAM2

_LOOKS = 1 << 26
_NO_PICTURE = np.zeros((1, 1, 1), np.uint8)
_MOST_ID = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """A frame of a video, when it is shown (None: not known), and where the objects are in it.

    `result.instances.ids` are the numbers of the objects that are seen, in rising order; `hidden` are the others'.
    """

    frame: int
    time: float | None
    result: Result
    hidden: tuple[int, ...]

    @property
    def objects(self) -> InstanceSet:
        """The objects that are seen."""
        return self.result.instances

    def without_picture(self) -> TrackedFrame:
        """The same with a picture of one pixel in place of the frame's, so that many can be kept."""
        return replace(self, result=replace(self.result, sample=replace(self.result.sample, image=_NO_PICTURE)))


class VideoSession:
    """A video in which objects are pointed at and followed: `Predictor.video`.

    Objects have numbers from 1 to 65,535, which who asks chooses. Each is followed by itself. What is remembered is
    bounded, however long the video is: see `ObjectMemory`. Threads may share the predictor, but not a session.

    >>> video = load("sam2.1-t").video("clip.mp4")
    >>> video.prompt(1, 0, points=[[120, 80]]).show()
    >>> for tracked in video.propagate():
    ...     tracked.result.save(f"{tracked.frame:06d}.png")
    """

    def __init__(self, predictor: Running, frames: Frames) -> None:
        spec = predictor.card.spec
        if not isinstance(spec, SAM2) or spec.memory is None:
            raise ConfigError(
                f"a {type(spec).__name__} looks at pictures one by one, and follows nothing through a video",
                hint="take sam2.1-t, sam2.1-s, sam2.1-b+ or sam2.1-l, whose files have a memory of videos",
            )
        self._predictor, self._frames = predictor, frames
        self._looks = Looks(_LOOKS)
        self._objects: dict[int, ObjectMemory] = {}
        self._asked: dict[tuple[int, int], Prompts] = {}
        self._reverse = False

    def __len__(self) -> int:
        """How many frames the video has."""
        return len(self._frames)

    @property
    def objects(self) -> tuple[int, ...]:
        """The numbers of the objects, rising."""
        return tuple(sorted(self._objects))

    @property
    def nbytes(self) -> int:
        """What is remembered of the objects takes so much of memory."""
        return sum(memory.nbytes for memory in self._objects.values())

    @property
    def first(self) -> int:
        """The first frame with a prompt; `ConfigError` where there is none."""
        self._check_objects()
        return min(frame for memory in self._objects.values() for frame in memory.prompted)

    def prompt(
        self,
        object_id: int,
        frame: int,
        points: Numbers | None = None,
        labels: Numbers | None = None,
        box: Numbers | None = None,
        mask: Any = None,
    ) -> Result:
        """Say where an object is in a frame, also while `propagate` runs; a number that is new is a new object.

        Points on a frame where some were given are added to these; a box or a mask begins anew. A frame that the object
        was followed to is corrected: what is remembered counts there too.

        Args:
            object_id: The number of the object, 1 to 65,535.
            frame: The number of the frame, from 0.
            points: [N, 2] (x, y) in pixels of the frame.
            labels: [N]: 1 on the object, 0 beside it; None: all on it.
            box: [4] (x1, y1, x2, y2) in pixels.
            mask: All of the object: booleans [H, W] of the frame, or `Masks` with one. No other prompt goes with it.

        Returns the object in this frame; none where the network thinks that it is hidden. `ConfigError` for what cannot
        be meant, as `Session.predict`; `DataError` where the frame cannot be read.
        """
        started = time.perf_counter()
        self._check(object_id, frame)
        seen = self._look(frame)
        memory = self._objects.get(object_id, ObjectMemory())
        if mask is None:
            asked, sought = self._sought(object_id, frame, seen, memory, (points, labels, box))
        else:
            if points is not None or labels is not None or box is not None:
                raise ConfigError(
                    "a mask is all of the object, so no other prompt goes with it", hint="give one of them"
                )
            asked, sought = None, Sought(mask=_given_mask(mask, seen.sample.size))
        (found,) = self._followed(seen, [sought])
        self._objects[object_id] = memory
        self._asked.pop((object_id, frame), None)
        if asked is not None:
            self._asked[object_id, frame] = asked
        memory.prompt(frame, found)
        return self._result(seen, {object_id: found}, started)

    def remove(self, object_id: int) -> None:
        """Forget an object, also while `propagate` runs; `ConfigError` where there is none of that number."""
        if object_id not in self._objects:
            raise ConfigError(f"there is no object {object_id}", hint=f"the objects are {self.objects}")
        del self._objects[object_id]
        self._asked = {key: asked for key, asked in self._asked.items() if key[0] != object_id}

    def reset(self) -> None:
        """Forget all objects."""
        self._objects.clear()
        self._asked.clear()

    def propagate(self, start: int | None = None, *, reverse: bool = False) -> Iterator[TrackedFrame]:
        """Follow the objects from frame `start` (None: the first one with a prompt) to the video's end, or in `reverse`
        to its beginning; frame by frame, as they are asked for.

        Frames with prompts show what these said. `ConfigError` where there is no object, or no such frame; `DataError`
        where a frame cannot be read.
        """
        self._check_objects()
        start = self.first if start is None else start
        self._check_frame(start)
        return self._passed(range(start, -1, -1) if reverse else range(start, len(self)), reverse=reverse)

    def _passed(self, frames: Sequence[int], *, reverse: bool) -> Iterator[TrackedFrame]:
        for frame in frames:
            started = time.perf_counter()
            self._reverse = reverse
            seen = self._look(frame)
            objects = {number: self._objects[number] for number in self.objects}
            found = {number: memory.prompted[frame] for number, memory in objects.items() if frame in memory.prompted}
            others = [number for number in objects if number not in found]
            recalled = [objects[number].recall(frame, len(self), reverse=reverse) for number in others]
            answers = self._followed(seen, [Sought(each) for each in recalled])
            for number in found:
                objects[number].reach(frame)
            for number, answer in zip(others, answers, strict=True):
                objects[number].keep(frame, answer)
                found[number] = answer
            result = self._result(seen, dict(sorted(found.items())), started)
            shown = set(() if result.instances.ids is None else result.instances.ids.tolist())
            hidden = tuple(number for number in objects if number not in shown)
            yield TrackedFrame(frame, self._frames.seconds(frame), result, hidden)

    def _look(self, frame: int) -> Seen:
        return look_at(self._predictor, self._frames.sample(frame), self._looks)

    def _followed(self, seen: Seen, sought: Sequence[Sought]) -> list[FollowedArrays]:
        if not sought:
            return []
        with room_for(seen.sample.file or seen.sample.id, SMALLER):
            return self._predictor.backend.follow(seen.embedding, sought)

    def _sought(
        self, object_id: int, frame: int, seen: Seen, memory: ObjectMemory, given: tuple[Numbers | None, ...]
    ) -> tuple[Prompts, Sought]:
        """All prompts for an object in a frame, and how the network is asked."""
        points, labels, box = given
        prompts = check_prompts(points, labels, box, seen.sample.size)
        if prompts is None:
            raise ConfigError("there is no prompt", hint="give points, a box or a mask")
        if len(prompts) != 1:
            raise ConfigError(f"these are prompts for {counted(len(prompts), 'object')}", hint="prompt one at a time")
        earlier = self._asked.get((object_id, frame)) if box is None else None
        before = memory.prompted.get(frame, memory.passed.get(frame)) if box is None else None
        if earlier is not None:
            prompts = earlier.with_more(prompts.points, prompts.labels)
        if before is None:
            check_positive(prompts)
        masks = None if before is None else before.logits[None]
        alone = prompts.boxes is None and prompts.labels.shape[1] == 1
        arrays = prompts.arrays(seen.resizing.placement, masks, several=alone)
        recalled = memory.recall(frame, len(self), reverse=self._reverse) if memory.has_reached(frame) else None
        return prompts, Sought(recalled, arrays)

    def _result(self, seen: Seen, found: dict[int, FollowedArrays], started: float) -> Result:
        """The objects that are seen in a frame, by their numbers."""
        size = seen.resizing.logits
        logits = np.stack([each.logits for each in found.values()]) if found else np.zeros((0, *size), np.float32)
        masks = decode_masks(logits, seen.resizing)
        rows = np.flatnonzero(masks.areas() > 0)
        scores = np.clip([each.score for each in found.values()], 0, 1).astype(np.float32)[rows]
        masks, ids = masks[rows], np.array(list(found), np.int64)[rows]
        instances = InstanceSet(masks.boxes(), np.zeros(len(rows), np.int64), scores, masks, ids)
        return Result(seen.sample, instances, self._predictor.card.labels, time.perf_counter() - started)

    def _check(self, object_id: int, frame: int) -> None:
        if isinstance(object_id, bool) or not isinstance(object_id, int | np.integer) or not 1 <= object_id <= _MOST_ID:
            raise ConfigError(
                f"the number of an object must be a whole one from 1 to {_MOST_ID}, but got {object_id!r}"
            )
        self._check_frame(frame)

    def _check_objects(self) -> None:
        if not self._objects:
            raise ConfigError("there is no object to be followed", hint="point at one first: prompt(1, 0, points=...)")

    def _check_frame(self, frame: int) -> None:
        if isinstance(frame, bool) or not isinstance(frame, int | np.integer) or not 0 <= frame < len(self):
            raise ConfigError(
                f"there is no frame {frame!r}: the video has {counted(len(self), 'frame')}", hint="frames count from 0"
            )


def _given_mask(mask: Any, size: tuple[int, int]) -> Array:
    """A mask as booleans [H, W]; `ConfigError` for anything but one of the frame's size."""
    if isinstance(mask, Masks):
        given = mask.to_dense(0) if len(mask) == 1 else np.zeros((len(mask), 0, 0), np.bool_)
    else:
        given = np.asarray(mask)
    given = given[0] if given.ndim == 3 and len(given) == 1 else given
    if given.dtype != np.bool_ or given.shape != size:
        raise ConfigError(
            f"mask must be booleans [{size[0]}, {size[1]}] of the frame, but got {given.dtype} {list(given.shape)}"
        )
    return given
