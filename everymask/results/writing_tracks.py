"""The folder that `predict --track` writes: the frames of a video, in which objects keep their numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels, labels_of
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import counted
from everymask.results.writing_instances import InstanceFolder
from everymask.viz.draw import draw_instances


class TrackFolder(InstanceFolder):
    """Writes what `InstanceFolder` does, frame by frame, with the objects' own numbers.

    - `ids/<frame>.png` has the objects' numbers, and so has the column `object` of `predictions.csv`
    - in `predictions.json` annotations have them as `track_id`
    - `overlays/<frame>.png` names objects by their numbers, each in a colour of its own
    - `predictions.csv` also has the columns frame (from 0) and seconds (when it is shown; empty where nobody knows)

    >>> with TrackFolder("tracks", model.labels) as folder:
    ...     for tracked in video.propagate():
    ...         folder.add_frame(tracked.frame, tracked.time, tracked.result.sample, tracked.objects)
    """

    columns = (*InstanceFolder.columns, "frame", "seconds")

    def __init__(self, out: str | Path, labels: Labels, **options: Any) -> None:
        super().__init__(out, labels, **options)
        self._frame, self._time = 0, ""
        self._tracks: set[int] = set()

    def add_frame(self, frame: int, time: float | None, sample: Sample, found: InstanceSet) -> str:
        """Write what was found in a frame; returns its name. `found.ids` are the objects' numbers."""
        self._frame, self._time = frame, "" if time is None else f"{time:.3f}"
        name = self.add(sample, found)
        self._tracks.update(self._numbers(found).tolist())
        return name

    def answer(self) -> dict[str, Any]:
        """How many objects there are in the whole video."""
        return {**super().answer(), "objects": len(self._tracks)}

    def sentence(self) -> str:
        """How many objects there are in the whole video, in words."""
        return counted(len(self._tracks), "object")

    def _numbers(self, found: InstanceSet) -> IntArray:
        return super()._numbers(found) if found.ids is None else found.ids

    def _more(self, number: int) -> tuple[dict[str, Any], tuple[object, ...]]:
        return {"track_id": number}, (self._frame, self._time)

    def _drawn(self, image: Array, found: InstanceSet) -> ByteArray:
        numbers = self._numbers(found)
        names = labels_of(str(number) for number in range(int(numbers.max(initial=0)) + 1))
        return draw_instances(image, replace(found, class_ids=numbers.astype(np.int64)), names)
