"""How good a model is on an annotated data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.errors import DataError
from everymask.infer.predictor import Predictor
from everymask.metrics.instances import InstanceMetric, InstanceScores

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The scores of a model on a data set, and what it took."""

    scores: InstanceScores
    pictures: int
    seconds: float

    @property
    def headline(self) -> float:
        """The one number by which models are compared: mask AP, or box AP where there are no masks."""
        numbers = self.scores.mask or self.scores.box
        return numbers.AP

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"seconds_per_picture": self.seconds, **self.scores.to_json()}


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    max_detections: int | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Predict every picture and compare with its truth by COCO's rules.

    Classes are matched by name. `max_detections` is how many objects per picture count (None: as many as the model
    gives). Memory holds one batch of pictures and the run lengths of what was found. `progress(done, total)` is called
    after every picture.

    `DataError` when the data set is empty or names a class that the model does not know.
    """
    if not len(dataset):
        raise DataError("there is no picture to evaluate on", hint="check the split's name with everymask check")
    if max_detections is not None:
        predictor = predictor.with_detections(max_detections)
    labels = predictor.card.labels
    classes = _class_map(dataset, predictor)
    has_masks = predictor.module.has_masks
    metric = InstanceMetric(labels, max_detections=predictor.card.spec.max_detections, masks=has_masks)
    seconds = 0.0
    samples = (dataset[index] for index in range(len(dataset)))
    for done, result in enumerate(predictor.stream(samples, batch=batch), start=1):
        truth = result.sample.truth
        if not isinstance(truth, InstanceSet) or (has_masks and truth.masks is None):
            raise DataError(f"{result.sample.file}: expected annotated masks, but there are only boxes")
        metric.update(result.instances, _renumbered(truth, classes), result.sample.size, result.sample.id)
        seconds += result.seconds
        if progress:
            progress(done, len(dataset))
    return Report(metric.compute(), len(dataset), seconds / len(dataset))


def _class_map(dataset: Dataset, predictor: Predictor) -> list[int]:
    """For each class of the data set, the model's id of the class of that name."""
    known = predictor.card.labels.names
    missing = [name for name in dataset.labels.names if name not in known]
    if missing:
        raise DataError(
            f"the data set has classes that the model does not know: {', '.join(missing)}",
            hint=f"the model knows {', '.join(known)}",
        )
    return [known.index(name) for name in dataset.labels.names]


def _renumbered(truth: InstanceSet, classes: list[int]) -> InstanceSet:
    return replace(truth, class_ids=np.array(classes, np.int64)[truth.class_ids])
