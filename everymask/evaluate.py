"""How good a model is on an annotated data set."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.data.dataset import Dataset, not_annotated, panoptic_refused
from everymask.data.formats.table import read_dataset
from everymask.data.splits import read_split
from everymask.errors import ConfigError, DataError, counted
from everymask.infer.predictor import Predictor
from everymask.metrics.calibration import CalibrationMetric, CalibrationScores
from everymask.metrics.comparison import Comparison, compare_scores
from everymask.metrics.instances import InstanceMetric, InstanceScores
from everymask.metrics.semantic import SemanticMetric, SemanticScores, Void
from everymask.models.regions.rcnn import RCNN
from everymask.models.semantic.network import SemanticModel
from everymask.results.result import Result

Progress = Callable[[int, int], None]
Scores: TypeAlias = InstanceScores | SemanticScores
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The scores of a model on a data set, and what it took; `calibration` where it was asked for."""

    scores: Scores
    pictures: int
    seconds: float
    calibration: CalibrationScores | None = None

    @property
    def headline(self) -> float:
        """The one number by which models are compared: mask AP (box AP where there are no masks), or mIoU."""
        return self.numbers().get(self.headline_name, math.nan)

    @property
    def headline_name(self) -> str:
        """Which number the headline is, as in `numbers`."""
        if isinstance(self.scores, SemanticScores):
            return "mIoU"
        return "mask AP" if self.scores.mask else "box AP"

    def numbers(self) -> dict[str, float]:
        """The few numbers that logs and model files keep, by name; what is not defined is left out."""
        scores = self.scores
        if isinstance(scores, SemanticScores):
            named = {
                "mIoU": scores.mean_iou,
                "pixel accuracy": scores.pixel_accuracy,
                "mean accuracy": scores.mean_accuracy,
                "mean Dice": scores.mean_dice,
                "ECE": math.nan if self.calibration is None else self.calibration.expected_error,
            }
            return {name: value for name, value in named.items() if not math.isnan(value)}
        kinds = {"mask": scores.mask, "box": scores.box}
        return {
            f"{kind} {name}": getattr(numbers, name)
            for kind, numbers in kinds.items()
            if numbers is not None
            for name in ("AP", "AP50", "AP75")
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        calibration = {} if self.calibration is None else {"calibration": self.calibration.to_json()}
        return {"seconds_per_picture": self.seconds, **self.scores.to_json(), **calibration}

    def __repr__(self) -> str:
        shown = ("mIoU", "pixel accuracy", "ECE", "mask AP", "mask AP50", "box AP", "box AP50")
        listed = [f"{name} {value:.3f}" for name, value in self.numbers().items() if name in shown]
        if isinstance(self.scores, SemanticScores):
            low, high = self.scores.interval
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
    and what the metric keeps of them. `progress(done, total)` is called after every picture.

    `DataError` when the data set cannot be read, is empty or names a class that the model does not know; `ConfigError`
    when it has no such split, or no truth of the model's kind, and for the calibration of a model that finds objects.

    >>> report = evaluate(load("runs/a"), "data", split="val")
    """
    if not hasattr(predictor, "stream"):
        raise ConfigError(f"expected a model, but got {predictor!r}", hint="load it first: everymask.load(...)")
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
    judge: _ObjectJudge | _MapJudge
    if isinstance(predictor.module, SemanticModel):
        dataset = dataset.semantic()
        judge = _MapJudge(predictor, dataset, void, calibration=calibration)
    else:
        judge = _ObjectJudge(predictor, predictor.module, dataset)
    seconds = 0.0
    samples = (dataset[index] for index in range(len(dataset)))
    for done, result in enumerate(predictor.stream(samples, batch=batch), start=1):
        judge.update(result)
        seconds += result.seconds
        if progress:
            progress(done, len(dataset))
    found = None if judge.calibration is None else judge.calibration.compute()
    return Report(judge.metric.compute(), len(dataset), seconds / len(dataset), found)


def compare(
    first: Predictor,
    second: Predictor,
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    void: Void = "ignored",
    progress: Progress | None = None,
) -> Comparison:
    """Whether two models differ on the same pictures: a paired bootstrap test of their mIoU.

    The arguments are as in `evaluate` (`progress` runs from 0 for each model), which also says what is raised. Besides,
    `ConfigError` for models that find objects, and `DataError` where the two cannot be judged on the
    same pictures, as when their trainings drew different splits.

    >>> compare(load("runs/a"), load("runs/b"), "data", split="val").p_value
    """
    for predictor in (first, second):
        if not isinstance(predictor.module, SemanticModel):
            raise ConfigError(
                f"only models that give label maps can be compared, but got {predictor!r}",
                hint="compare detectors by the numbers of everymask evaluate",
            )
    dataset = _read(dataset, first)
    scores = [
        evaluate(predictor, dataset, split=split, void=void, progress=progress).scores for predictor in (first, second)
    ]
    return compare_scores(*(each for each in scores if isinstance(each, SemanticScores)))


class _ObjectJudge:
    """Compares objects with annotated ones."""

    def __init__(self, predictor: Predictor, module: RCNN, dataset: Dataset) -> None:
        if dataset.kind == "panoptic":
            raise panoptic_refused(dataset, "evaluated on")
        if dataset.kind == "label maps":
            raise ConfigError(
                "the model finds objects, but the data set has label maps, which do not tell them apart",
                hint="give a data set with objects, or a model that gives label maps",
            )
        self.classes = np.array(_class_map(dataset, predictor), np.int64)
        self.has_masks, limit = module.has_masks, module.spec.max_detections
        self.metric = InstanceMetric(predictor.card.labels, max_detections=limit, masks=self.has_masks)
        self.calibration = None

    def update(self, result: Result) -> None:
        truth = result.sample.truth
        if not isinstance(truth, InstanceSet) or (self.has_masks and truth.masks is None):
            raise DataError(f"{result.sample.file}: expected annotated masks, but there are only boxes")
        truth = replace(truth, class_ids=self.classes[truth.class_ids])
        self.metric.update(result.instances, truth, result.sample.size, result.sample.id)


class _MapJudge:
    """Compares label maps with annotated ones."""

    def __init__(self, predictor: Predictor, dataset: Dataset, void: Void, *, calibration: bool) -> None:
        ignore = predictor.card.labels.ignore
        self.classes = np.full(dataset.labels.ignore + 1, ignore, np.min_scalar_type(ignore))
        self.classes[: len(dataset.labels)] = _class_map(dataset, predictor)
        self.metric = SemanticMetric(predictor.card.labels, void=void)
        self.calibration = CalibrationMetric() if calibration else None

    def update(self, result: Result) -> None:
        truth = result.sample.truth
        if not isinstance(truth, SemanticMap):
            raise DataError(f"{result.sample.file}: expected a label map as truth, but got {type(truth).__name__}")
        found, true = result.semantic, self.classes[truth.ids]
        self.metric.update(found, SemanticMap(true), result.sample.id)
        if self.calibration is not None and found.scores is not None:
            ignore = self.metric.labels.ignore
            known = (true != ignore) & (found.ids != ignore)
            self.calibration.update(found.scores[known], (found.ids == true)[known])


def _read(dataset: Dataset | str | Path, predictor: Predictor) -> Dataset:
    """The data set, or that at a path: of a folder that has objects and label maps, what the model predicts."""
    if isinstance(dataset, Dataset):
        return dataset
    return read_dataset(dataset, task="semantic" if isinstance(predictor.module, SemanticModel) else None)


def _part(dataset: Dataset, split: str | None, drawn: Path | None) -> Dataset:
    """The pictures of a split: of those that training drew where `drawn` tells of this data set, else of its own."""
    if drawn is not None:
        with suppress(DataError):
            dataset = read_split(drawn, dataset)
            if split is None and "train" in dataset.splits():
                _log.warning("the score includes pictures that the model was trained on; choose the split val")
    return dataset if split is None else dataset.split(split)


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
