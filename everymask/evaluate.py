"""How good a model is on an annotated data set."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from everymask.core.labels import ClassMap, Labels, map_classes, unknown_classes, unknown_shown
from everymask.core.memory import room_for
from everymask.core.processes.rank import ALONE, Rank
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.formats.coco.federated import FEDERATED
from everymask.data.formats.table import read_dataset
from everymask.data.identity.changes import changes
from everymask.data.identity.content import DATA, identity_of, read_identity, see_dataset
from everymask.data.panoptic import rule_of
from everymask.data.splits import read_split
from everymask.errors import ConfigError, DataError, counted, listed, printable
from everymask.infer.merged import Merged
from everymask.infer.predictor import Predictor
from everymask.infer.prompted.segmenter import Segmenter
from everymask.infer.stored import StoredPredictions, are_predictions, read_predictions, task_of_predictions
from everymask.metrics.calibration import CalibrationScores
from everymask.metrics.comparison import Comparison, compare_scores
from everymask.metrics.scores import Metric, Scores
from everymask.metrics.semantic_scores import Void
from everymask.tasks.task import Judging

Progress = Callable[[int, int], None]
Judged: TypeAlias = Predictor | Segmenter | Merged | StoredPredictions
"""Whose predictions are compared with truth."""
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
    predictor: Judged | str | Path,
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    max_detections: int | None = None,
    void: Void = "ignored",
    calibration: bool = False,
    boundary: bool = False,
    classes: Mapping[str, str] | None = None,
    batch: int = 1,
    progress: Progress | None = None,
    rank: Rank = ALONE,
) -> Report:
    """Predict every picture and compare with its truth: objects by COCO's rules, label maps by the pixels' overlap.

    In place of a model there may be the path of predictions made elsewhere, judged alike (see
    `everymask.infer.stored.read_predictions`). `dataset` is a data set, or its path. `split` takes a part of it: of the
    pictures that training drew where the model comes from the run folder of a training on this data set, else of the
    data set's own. Without it all pictures count, with a warning if the model was trained on some of them. A model that
    gives label maps is judged on the original size of the pictures, and on objects by what `Dataset.semantic` paints of
    them.

    Classes are matched by name, after `classes` has told which of the model's a class of the data set is. A method that
    knows no names calls its one class as the data set does, if that has one. Classes that only one of the two has are
    listed in the log; the data set may declare some that the model does not know, but show none of them.
    `max_detections` is how many objects per picture count (None: as many as the model gives), `void` whether what a
    label map says where there is no truth is ignored or wrong. `calibration` asks whether the model is as sure of the
    pixels' classes as it is right, where there is truth, `boundary` for boundary PQ beside PQ. Memory holds one batch
    of pictures and what the metrics keep of them. `progress(done, total)` is called after every picture. Of several
    processes each, by its `rank`, predicts its share of the pictures, and all get the scores of all.

    `DataError` when the data set cannot be read, is empty or shows a class that the model does not know; `ConfigError`
    when it has no such split, or no truth of the model's kind, for `classes` that there are not, and for the
    calibration of a model that finds objects, or boundary PQ of one that gives no panoptic maps; `UnusableHere` names
    the picture that is too much for the memory.

    >>> report = evaluate(load("runs/a"), "data", split="val")
    """
    predictor, dataset = _judged(predictor, dataset)
    task = predictor.task
    dataset = _annotated(_part(_read(dataset, predictor), split, predictor.splits))
    if max_detections is not None:
        predictor = predictor.with_detections(max_detections)
    if boundary:
        predictor.task.refuse("boundary")
    if calibration:
        predictor = predictor.with_scores()
    dataset = dataset.for_task(task.name, rule=rule_of(predictor.labels))
    predictor = _named(predictor, dataset.labels, classes or {})
    unknown = _unknown_classes(dataset, predictor, classes or {})
    mapped = map_classes(dataset.labels, predictor.labels, classes, unknown)
    share = replace(dataset, records=dataset.records[rank.index :: rank.count])
    judge = partial(_judge, predictor, share, mapped, unknown, batch, progress)
    metrics, seconds = rank.combined(
        lambda: judge(predictor.metrics(Judging(void, calibration, boundary=boundary))), _merged
    )
    return Report(metrics[0][1], len(dataset), seconds / len(dataset), dict(metrics[1:]))


def _judge(
    predictor: Judged,
    dataset: Dataset,
    mapped: ClassMap,
    unknown: set[str],
    batch: int,
    progress: Progress | None,
    metrics: Mapping[str, Metric[Any]],
) -> tuple[Mapping[str, Metric[Any]], float]:
    """The metrics with what they say of the pictures, and how many seconds predicting took."""
    seconds = 0.0
    for done, result in enumerate(predictor.answers(dataset, batch=batch), start=1):
        with room_for(result.sample.file or result.sample.id, "make the picture smaller, or cut it into pieces"):
            truth = predictor.task.truth_of(result.sample)
            shown = {row.name for row in truth.rows(dataset.labels)} if unknown else set()
            if shown & unknown:
                raise unknown_shown(sorted(shown & unknown), predictor.labels)
            truth = truth.relabelled(mapped)
            for metric in metrics.values():
                metric.update(result.segmentation, truth, result.sample)
        seconds += result.seconds
        if progress:
            progress(done, len(dataset))
    return metrics, seconds


def _merged(parts: list[tuple[Mapping[str, Metric[Any]], float]]) -> tuple[list[tuple[str, Scores]], float]:
    """The scores of all pictures by name, in the order of the metrics, and the seconds that predicting took in all."""
    (metrics, seconds), *others = parts
    for more, took in others:
        seconds += took
        for name, metric in metrics.items():
            metric.merge(more[name])
    return [(name, metric.compute()) for name, metric in metrics.items()], seconds


def compare(
    first: Judged | str | Path,
    second: Judged | str | Path,
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    void: Void = "ignored",
    classes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Whether two models differ on the same pictures: a paired bootstrap test of their headline (mIoU, mask AP ...).

    The arguments are as in `evaluate` (`progress` runs from 0 for each model), which also says what is raised. Besides,
    `ConfigError` for models of different tasks or with different limits of detections, and `DataError` where the two
    cannot be judged on the same pictures, as when their trainings drew different splits.

    >>> compare(load("runs/a"), load("runs/b"), "data", split="val").p_value
    """
    (first, dataset), (second, _) = _judged(first, dataset), _judged(second, dataset)
    if first.task is not second.task:
        raise ConfigError(
            f"only models of one task can be compared, but the first {first.task.finds}, and the second "
            f"{second.task.finds}",
            hint="choose two models of one task",
        )
    first, second = _limited_alike(first, second)
    dataset = _read(dataset, first)
    one, other = (
        evaluate(predictor, dataset, split=split, void=void, classes=classes, progress=progress).scores
        for predictor in (first, second)
    )
    return compare_scores(one, other)


def _judged(source: Judged | str | Path, dataset: Dataset | str | Path) -> tuple[Judged, Dataset | str | Path]:
    """The model, or the predictions at a path, and the data set, which has to be read where there are predictions."""
    if isinstance(source, str | Path) and are_predictions(source):
        if not isinstance(dataset, Dataset):
            dataset = read_dataset(dataset, task=task_of_predictions(source))
        return read_predictions(source, dataset), dataset
    if isinstance(source, str | Path) or not hasattr(source, "answers"):
        raise ConfigError(f"expected a model, but got {source!r}", hint="load it first: everymask.load(...)")
    return source, dataset


def _named(predictor: Judged, labels: Labels, renamed: Mapping[str, str]) -> Judged:
    """The model, its one class called as in `labels` where it has no name of its own and none was `renamed`."""
    if renamed or not isinstance(predictor, Predictor | Segmenter | Merged):
        return predictor
    named = predictor.named_after(labels)
    if predictor.task.interactive or isinstance(named, Merged):
        return named
    for old, new in zip(predictor.labels.names, named.labels.names, strict=True):
        if old != new:
            _log.warning("%s, as the model calls it, is taken for %s", old, printable(new, 40))
    return named


def _limited_alike(first: Judged, second: Judged) -> tuple[Judged, Judged]:
    """Both with as many objects per picture, where it means nothing to one of them how many there may be."""
    one, other = (
        getattr(next(iter(each.metrics(Judging()).values())), "max_detections", None) for each in (first, second)
    )
    if one != other and one is not None and other is not None:
        if isinstance(second, Predictor) and second.is_unlimited:
            return first, second.with_detections(one)
        if isinstance(first, Predictor) and first.is_unlimited:
            return first.with_detections(other), second
    return first, second


def _unknown_classes(dataset: Dataset, predictor: Judged, renamed: Mapping[str, str]) -> set[str]:
    """The classes of the data set that the model does not know; `DataError` where it is known that pictures show some.

    These, and classes of the model that the data set does not have, are listed in the log.
    """
    mine, theirs = predictor.labels, dataset.labels
    unknown = unknown_classes(theirs, mine, renamed)
    shown = predictor.task.shown(dataset) or set()
    found = [name for name in unknown if theirs.names.index(name) in shown]
    if found:
        raise unknown_shown(found, mine)
    if unknown:
        _log.warning("classes that the model does not know, and of which there is nothing: %s", listed(unknown))
    given = {renamed.get(name, name) for name in theirs.names}
    missing = [name for name in mine.names if name not in given]
    if missing:
        _log.warning("classes of the model that the data set does not have: %s", listed(missing))
    _say_kinds(theirs, mine, renamed)
    return set(unknown)


def _say_kinds(theirs: Labels, mine: Labels, renamed: Mapping[str, str]) -> None:
    """Log which classes are things for one side and stuff for the other, where both tell them apart."""
    if not theirs.things or not mine.things:
        return
    things = {mine.names[row] for row in mine.things}
    pairs = [(name, row in theirs.things, renamed.get(name, name)) for row, name in enumerate(theirs.names)]
    messages = {
        True: "the data set counts %s one by one, which is stuff for the model",
        False: "the model counts %s one by one, which is stuff for the data set",
    }
    for thing, message in messages.items():
        other = [name for name, kind, own in pairs if kind == thing != (own in things) and own in mine.names]
        if other:
            _log.warning(message, listed(other))


def _read(dataset: Dataset | str | Path, predictor: Judged) -> Dataset:
    """The data set, or that at a path: of a folder that has objects and label maps, what the model predicts."""
    if isinstance(dataset, Dataset):
        return dataset
    return read_dataset(dataset, task=predictor.task.name, rule=rule_of(predictor.labels))


def _annotated(chosen: Dataset) -> Dataset:
    """Its annotated pictures, the others being counted in the log; `DataError` where there are none."""
    dataset = chosen.annotated()
    if len(dataset) < len(chosen):
        _log.warning("%s", not_annotated(len(chosen) - len(dataset)))
    for issue in dataset.issues:
        if issue.code == FEDERATED:
            _log.warning("%s", issue.message)
    if not len(dataset):
        raise DataError("there is no picture to evaluate on", hint="check the split's name with everymask check")
    return dataset


def _part(dataset: Dataset, split: str | None, drawn: Path | None) -> Dataset:
    """The pictures of a split: of those that training drew where `drawn` tells of this data set, else of its own."""
    if drawn is not None:
        with suppress(DataError):
            dataset = read_split(drawn, dataset)
            if split is None and "train" in dataset.splits():
                _log.warning("the score includes pictures that the model was trained on; choose the split val")
            part = dataset if split is None else dataset.split(split)
            _say_changes(part, drawn.with_name(DATA))
            return part
    return dataset if split is None else dataset.split(split)


def _say_changes(part: Dataset, file: Path) -> None:
    """Log which pictures hold something else than when a training began with them, of which `file` tells."""
    try:
        before, known = read_identity(file)
    except (OSError, ValueError):
        return  # of a training by an earlier version, or damaged, which matters to those who resume it
    part = part.annotated()
    now = identity_of(part, see_dataset(part, known))
    changed = [change.id for change in changes(before, now) if change.kind in ("picture changed", "truth changed")]
    if changed:
        names = list(dict.fromkeys(changed))
        _log.warning("%s changed since the training began: %s", counted(len(names), "picture"), listed(names))
