"""J and F of objects that are followed through a video, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.files import number_key
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.metrics.scores import scored_before
from everymask.metrics.video.contours import contour_accuracy, region_similarity

_RECALLED = 0.5
_QUARTERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class TrackScores:
    """Of each of N objects, by their numbers, `regions` (J) and `contours` (F) [N, T] in each frame, both in 0-1.

    `frames` are the frames' ids, in their order.
    """

    objects: tuple[int, ...]
    frames: tuple[str, ...]
    regions: FloatArray
    contours: FloatArray

    def numbers(self) -> dict[str, float]:
        """J&F, the mean of J and F; of J and F the mean over objects, how many frames are above 0.5 (recall), and by
        how much the last quarter of the frames is worse than the first (decay): as DAVIS 2017 gives them.
        """
        found: dict[str, float] = {}
        for name, values in (("J", self.regions), ("F", self.contours)):
            found[name] = _mean(values)
            found[f"{name} recall"] = _mean(values > _RECALLED)
            found[f"{name} decay"] = _decay(values)
        return {"J&F": (found["J"] + found["F"]) / 2, **found}

    def by_object(self) -> dict[int, tuple[float, float]]:
        """J and F of each object."""
        rows = zip(self.objects, self.regions, self.contours, strict=True)
        return {number: (_mean(regions), _mean(contours)) for number, regions, contours in rows}


class TrackMetric:
    """Collects the frames of one video; objects are those of the truth, and known by their numbers (`ids`).

    As DAVIS has it for objects that are given in the first frame, the first and the last frame do not count; `whole`
    counts them too. Objects that only the prediction has do not count. Frames are in the order of the numbers in their
    samples' ids.

    >>> metric = TrackMetric()
    >>> for tracked in video.propagate():
    ...     metric.update(tracked.objects, truths[tracked.frame], tracked.result.sample)
    >>> metric.compute().numbers()["J&F"]
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self._frames: dict[str, dict[int, tuple[float, float]]] = {}
        self._objects: set[int] = set()

    def update(self, prediction: InstanceSet, truth: InstanceSet, sample: Sample) -> None:
        """Add one frame; `DataError` for one that was added before, and for objects without masks or numbers."""
        if sample.id in self._frames:
            raise scored_before(sample.id)
        for objects in (prediction, truth):
            if objects.masks is None or objects.ids is None:
                raise DataError(
                    f"the objects of frame {sample.id!r} have no masks or no numbers",
                    hint="follow objects through the video: Predictor.video",
                )
        numbers, others = (set(_rows(objects)) for objects in (truth, prediction))
        self._objects |= numbers
        both = [(number, _mask(prediction, number), _mask(truth, number)) for number in sorted(numbers | others)]
        self._frames[sample.id] = {
            number: (region_similarity(found, true), contour_accuracy(found, true)) for number, found, true in both
        }

    def merge(self, other: TrackMetric) -> None:
        """Add all frames of another part of the same video."""
        self._frames |= other._frames
        self._objects |= other._objects

    def compute(self) -> TrackScores:
        """The scores of all frames so far; where neither shows an object both are 1."""
        frames = sorted(self._frames, key=number_key)
        counted = tuple(frames if self.whole else frames[1:-1])
        objects = tuple(sorted(self._objects))
        values = [[self._frames[frame].get(number, (1.0, 1.0)) for frame in counted] for number in objects]
        both = np.array(values, np.float64).reshape(len(objects), len(counted), 2)
        return TrackScores(objects, counted, both[..., 0], both[..., 1])


def _rows(objects: InstanceSet) -> Iterable[int]:
    return [] if objects.ids is None else objects.ids.tolist()


def _mask(objects: InstanceSet, number: int) -> np.ndarray:
    """The object's mask [H, W], empty where it is not there."""
    assert objects.masks is not None and objects.ids is not None
    rows = np.flatnonzero(objects.ids == number)
    return objects.masks.to_dense(int(rows[0])) if rows.size else np.zeros(objects.masks.size, np.bool_)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def _decay(values: FloatArray) -> float:
    """How much better the first quarter of the frames [N, T] is than the last; as in DAVIS neighbours share a frame."""
    if not values.size:
        return float("nan")
    ends = (np.round(np.linspace(1, values.shape[1], _QUARTERS + 1) + 1e-10) - 1).astype(int)
    return _mean(values[:, ends[0] : ends[1] + 1]) - _mean(values[:, ends[-2] : ends[-1] + 1])
