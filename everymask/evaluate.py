"""How good a model is on an annotated data set."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everymask.core.labels import map_classes
from everymask.core.memory import room_for
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.formats.table import read_dataset
from everymask.data.splits import read_split
from everymask.errors import ConfigError, DataError, counted
from everymask.infer.predictor import Predictor
from everymask.metrics.calibration import CalibrationScores
from everymask.metrics.comparison import Comparison, compare_scores
from everymask.metrics.scores import Scores
from everymask.metrics.semantic_scores import Void
from everymask.tasks.task import Judging

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The scores of a model on a data set, the seconds per picture, and by name what else was asked for."""

    scores: Scores
    pictures: int
    seconds: float
    others: Mapping[str, Scores] = field(default_factory=dict)

    @property
    def headline(self) -> float:
        """The one number by which models are compared: mask AP (box AP where there are no masks), or mIoU."""
        return self.scores.headline

    @property
    def headline_name(self) -> str:
        """Which number the headline is, as in `numbers`."""
        return self.scores.headline_name

    @property
    def calibration(self) -> CalibrationScores | None:
        """How sure the model is and how right, where that was asked for."""
        found = self.others.get("calibration")
        return found if isinstance(found, CalibrationScores) else None

    def numbers(self) -> dict[str, float]:
        """The few numbers that logs and model files keep, by name; what is not defined is left out."""
        return {name: value for part in self.parts() for name, value in part.numbers().items()}

    def parts(self) -> tuple[Scores, ...]:
        """The scores, and all others."""
        return self.scores, *self.others.values()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        others = {name: scores.to_json() for name, scores in self.others.items()}
        return {"seconds_per_picture": self.seconds, **self.scores.to_json(), **others}

    def __repr__(self) -> str:
        numbers, (low, high) = self.numbers(), self.scores.interval
        brief = [name for part in self.parts() for name in part.brief]
        listed = [f"{name} {numbers[name]:.3f}" for name in brief if name in numbers]
        if not math.isnan(low):
            listed[0] += f" ({low:.3f} to {high:.3f})"
        return f"<Report {counted(self.pictures, 'picture')}: {', '.join(listed)}>"


def evaluate(
    predictor: Predictor,
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    max_detections: int | None = None,
    void: Void = "ignored",
    calibration: bool = False,
    batch: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Predict every picture and compare with its truth: objects by COCO's rules, label maps by the pixels' overlap.

    `dataset` is one that was read, or the path of one. `split` takes a part of it: of the pictures that training drew
    where the model comes from the run folder of a training on this data set, else of the data set's own. Without it all
    pictures count, with a warning if the model was trained on some of them. A model that gives label maps is judged on
    the original size of the pictures, and on objects by what `Dataset.semantic` paints of them.

    Classes are matched by name. `max_detections` is how many objects per picture count (None: as many as the model
    gives), `void` whether what a label map says where there is no truth is ignored or wrong. `calibration` asks whether
    the model is as sure of the pixels' classes as it is right, where there is truth. Memory holds one batch of pictures
    and what the metrics keep of them. `progress(done, total)` is called after every picture.

    `DataError` when the data set cannot be read, is empty or names a class that the model does not know; `ConfigError`
    when it has no such split, or no truth of the model's kind, and for the calibration of a model that finds objects;
    `UnusableHere` names the picture for which there is not enough memory: scores of the others would be another number.

    >>> report = evaluate(load("runs/a"), "data", split="val")
    """
    if not hasattr(predictor, "stream"):
        raise ConfigError(f"expected a model, but got {predictor!r}", hint="load it first: everymask.load(...)")
    task = predictor.task
    chosen = _part(_read(dataset, predictor), split, predictor.splits)
    dataset = chosen.annotated()
    if len(dataset) < len(chosen):
        _log.warning("%s", not_annotated(len(chosen) - len(dataset)))
    if not len(dataset):
        raise DataError("there is no picture to evaluate on", hint="check the split's name with everymask check")
    if max_detections is not None:
        predictor = predictor.with_detections(max_detections)
    if calibration:
        predictor = predictor.with_scores()
    dataset = dataset.for_task(task.name)
    classes = map_classes(dataset.labels, predictor.card.labels)
    metrics = task.metrics(predictor.card.labels, predictor.card.spec, Judging(void, calibration))
    seconds = 0.0
    samples = (dataset[index] for index in range(len(dataset)))
    for done, result in enumerate(predictor.stream(samples, batch=batch), start=1):
        with room_for(result.sample.file or result.sample.id, "make the picture smaller, or cut it into pieces"):
            truth = task.truth_of(result.sample).relabelled(classes)
            for metric in metrics.values():
                metric.update(result.segmentation, truth, result.sample)
        seconds += result.seconds
        if progress:
            progress(done, len(dataset))
    (_, scores), *others = ((name, metric.compute()) for name, metric in metrics.items())
    return Report(scores, len(dataset), seconds / len(dataset), dict(others))


def compare(
    first: Predictor,
    second: Predictor,
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    void: Void = "ignored",
    progress: Progress | None = None,
) -> Comparison:
    """Whether two models differ on the same pictures: a paired bootstrap test of their headline (mIoU, mask AP ...).

    The arguments are as in `evaluate` (`progress` runs from 0 for each model), which also says what is raised. Besides,
    `ConfigError` for models of different tasks or with different limits of detections, and `DataError` where the two
    cannot be judged on the same pictures, as when their trainings drew different splits.

    >>> compare(load("runs/a"), load("runs/b"), "data", split="val").p_value
    """
    if first.task is not second.task:
        raise ConfigError(
            f"only models of one task can be compared, but the first {first.task.finds}, and the second "
            f"{second.task.finds}",
            hint="choose two models of one task",
        )
    dataset = _read(dataset, first)
    one, other = (
        evaluate(predictor, dataset, split=split, void=void, progress=progress).scores for predictor in (first, second)
    )
    return compare_scores(one, other)


def _read(dataset: Dataset | str | Path, predictor: Predictor) -> Dataset:
    """The data set, or that at a path: of a folder that has objects and label maps, what the model predicts."""
    return dataset if isinstance(dataset, Dataset) else read_dataset(dataset, task=predictor.task.name)


def _part(dataset: Dataset, split: str | None, drawn: Path | None) -> Dataset:
    """The pictures of a split: of those that training drew where `drawn` tells of this data set, else of its own."""
    if drawn is not None:
        with suppress(DataError):
            dataset = read_split(drawn, dataset)
            if split is None and "train" in dataset.splits():
                _log.warning("the score includes pictures that the model was trained on; choose the split val")
    return dataset if split is None else dataset.split(split)
