"""Answers to simulated prompts, picture by picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from everymask.metrics.instances import InstanceMetric
from everymask.metrics.prompted.clicks import pointed_at
from everymask.metrics.prompted.scores import PromptScores

CLICKS = 20
"""How often an object is clicked."""
_MOST_OBJECTS = 1_000_000


@dataclass(frozen=True, slots=True)
class PromptedSet(InstanceSet):
    """What a network answered to prompts for N objects of a truth, those of `pointed_at` in their order.

    Boxes, masks and scores are its answers to the objects' boxes; `click_ious` [N, 20] float32 are the IoU of its
    answer with the object after each click.
    """

    click_ious: FloatArray | None = None


class PromptMetric:
    """Collects answers and truths picture by picture; see `PromptScores`.

    The answers' boxes and masks are judged by COCO's rules: each object's mask as one that a detector with perfect
    boxes and classes gives.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self._boxed = InstanceMetric(labels, max_detections=_MOST_OBJECTS)
        self._pictures: dict[str, _Picture] = {}

    def update(self, prediction: InstanceSet, truth: InstanceSet, sample: Sample) -> None:
        """Add one picture; `DataError` for one that was added before, and where the answers are not those for this
        truth.
        """
        rows = pointed_at(truth)
        clicked = prediction.click_ious if isinstance(prediction, PromptedSet) else None
        if clicked is None or truth.masks is None or prediction.masks is None or len(prediction) != len(rows):
            raise DataError(
                f"the prediction for {sample.id!r} is no answer to prompts for its {len(rows)} objects",
                hint="evaluate a network that answers prompts; what is predicted into folders is judged as objects are",
            )
        self._boxed.update(replace(prediction, class_ids=truth.class_ids[rows]), truth, sample)
        pairs = zip(rows.tolist(), range(len(rows)), strict=True)
        boxed = [float(truth.masks[row].iou(prediction.masks[place])[0, 0]) for row, place in pairs]
        self._pictures[sample.id] = _Picture(truth.class_ids[rows], clicked, np.array(boxed, np.float32))

    def merge(self, other: PromptMetric) -> None:
        """Add all pictures of another part of the same run; `ConfigError` unless it was set up alike."""
        if other.labels != self.labels:
            raise ConfigError("only metrics set up alike can be merged, but the labels differ")
        self._boxed.merge(other._boxed)
        self._pictures |= other._pictures

    def compute(self) -> PromptScores:
        """The scores of all pictures so far."""
        ids = tuple(sorted(self._pictures))
        parts = [self._pictures[name] for name in ids]
        return PromptScores(
            ids=ids,
            names=self.labels.names,
            pictures=np.repeat(np.arange(len(ids)), [len(part.class_ids) for part in parts]),
            class_ids=np.concatenate([np.zeros(0, np.int64), *(part.class_ids for part in parts)]),
            click_ious=np.concatenate([np.zeros((0, CLICKS), np.float32), *(part.click_ious for part in parts)]),
            box_ious=np.concatenate([np.zeros(0, np.float32), *(part.box_ious for part in parts)]),
            boxed=self._boxed.numbers("segm"),
        )


@dataclass(frozen=True, slots=True)
class _Picture:
    """Of each of N objects its class, the IoU after each click [N, 20], and that of the mask in its box."""

    class_ids: IntArray
    click_ious: FloatArray
    box_ious: FloatArray
