"""The report of a run, put together from its log, its scores and a few of its pictures."""

from __future__ import annotations

import math
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import everymask
from everymask.core.arrays import Array, ByteArray
from everymask.data.dataset import Dataset
from everymask.errors import counted
from everymask.evaluate import Report
from everymask.infer.predictor import Predictor
from everymask.metrics.scores import ClassTable, Headline, PictureScore, Scores
from everymask.settings.config import TrainConfig
from everymask.tasks.table import task_of
from everymask.tasks.task import Drawing
from everymask.train.folder.ended import Ended, HowEnded, score_of, write_ended
from everymask.train.folder.layout import LOG
from everymask.train.folder.log_lines import PLACE, read_log
from everymask.train.folder.logs import spent
from everymask.train.folder.progress import Progress
from everymask.viz.draw import displayable, resized, scaled_size
from everymask.viz.parts import PICTURE_SIDE
from everymask.viz.report import (
    Panel,
    ReportContent,
    StepRow,
    ValidationRow,
    typical_and_worst,
    write_report,
)

_DRAWN_FROM = 0.5
_CALCULATE = ("torch", "torchvision", "skimage", "sklearn")
"""Packages on which numbers depend, where they were needed."""


def write_summary(
    folder: Path,
    config: TrainConfig,
    train: Dataset,
    val: Dataset | None,
    report: Report | None,
    predictor: Predictor | None,
    ended: HowEnded,
    progress: Progress,
    peak: float,
) -> None:
    """Write `report.html` and `ended.json`. Without a `report` they say how training went, not how good the model is.

    `peak` is the most memory used, in MB. Steps since the last line of the log are a point of the curves too.
    """
    entries = read_log(folder / LOG)
    steps = [entry for entry in entries if entry["kind"] == "step"]
    if progress.summed:
        means = {name: total / progress.summed for name, total in progress.sums.items()}
        epoch = max(entry["epoch"] for entry in steps) if steps else 0.0
        steps.append({"step": progress.step, "epoch": epoch} | means)
    content = ReportContent(
        title=folder.resolve().name,
        when=time.strftime("%Y-%m-%d %H:%M"),
        headlines=_of_training(progress, peak, ended),
        steps=[_step_row(entry) for entry in steps],
        validations=[_validation_row(entry) for entry in entries if entry["kind"] == "validation"],
        dataset=_statistics(train, val),
        issues=train.issues,
        settings=config.to_json(),
        versions={
            "everymask": everymask.__version__,
            "python": platform.python_version(),
        }
        | {name: str(sys.modules[name].__version__) for name in _CALCULATE if name in sys.modules},
    )
    if report and val:
        content = _with_scores(content, report.scores, predictor, val)
    write_report(folder / "report.html", content)
    score = score_of(report.scores) if report else None
    write_ended(folder, Ended(ended, progress.step, round(progress.seconds, 2), score))


def _with_scores(content: ReportContent, scores: Scores, predictor: Predictor | None, val: Dataset) -> ReportContent:
    """The content with these scores on `val`, and with typical and the worst pictures where there is a predictor."""
    typical, worst = _panels(predictor, val, scores) if predictor else ((), ())
    return replace(
        content,
        headlines=scores.headlines() + content.headlines,
        precision_recall=scores.curves(),
        confusion=scores.mistakes(),
        classes=_in_colours(scores.classes(), predictor),
        typical=typical,
        worst=worst,
    )


def _in_colours(classes: ClassTable | None, predictor: Predictor | None) -> ClassTable | None:
    """The classes in the colours in which the pictures show them."""
    if classes is None or predictor is None:
        return classes
    labels = predictor.card.labels
    colours = dict(zip(labels.names, labels.colours, strict=True))
    return replace(classes, rows=tuple(replace(row, colour=colours.get(row.name)) for row in classes.rows))


def _panels(predictor: Predictor, val: Dataset, scores: Scores) -> tuple[tuple[Panel, ...], tuple[Panel, ...]]:
    task = predictor.task
    val = val.for_task(task.name)
    ranked = sorted(
        (row for row in scores.by_picture() if not math.isnan(row.score)), key=lambda row: (row.score, row.id)
    )
    rows = {record.id: index for index, record in enumerate(val.records)}
    once, model = predictor.without_duplicates(), predictor.card.labels

    def panel(row: PictureScore) -> Panel:
        result = next(iter(once.answers(val.subset([rows[row.id]]))))
        sample, found = result.sample, result.segmentation
        colours = result.labels.coloured_as(model)
        sides = ((task.truth_of(sample), val.labels.coloured_as(model)), (found, colours))
        drawing = Drawing(min_score=_DRAWN_FROM, names=task.tagged, side=PICTURE_SIDE, before=sample.before)
        truth, prediction = (task.draw(sample.image, one, labels, drawing) for one, labels in sides)
        dates = None if sample.before is None else (_shown(sample.before), _shown(sample.image))
        return Panel(row.id, row.caption, truth, prediction, dates)

    typical, worst = typical_and_worst(ranked)
    return tuple(map(panel, typical)), tuple(map(panel, worst))


def _shown(image: Array) -> ByteArray:
    """A picture as a page shows it."""
    canvas = displayable(image)
    return resized(canvas, scaled_size(canvas.shape[:2], PICTURE_SIDE))


def _of_training(progress: Progress, peak: float, ended: str) -> tuple[Headline, ...]:
    if not progress.seconds:
        return ()
    steps = f"{counted(progress.step, 'step')}; " if progress.step else ""
    return (
        Headline("training", spent(progress.seconds), f"{steps}ended: {ended}"),
        Headline("memory", f"{peak:,.0f} MB", "at most"),
    )


def _step_row(entry: dict[str, Any]) -> StepRow:
    losses = {name: value for name, value in entry.items() if name.startswith("loss")}
    return StepRow(entry["step"], losses, entry["epoch"], entry.get("lr"), entry.get("images_per_second"))


def _validation_row(entry: dict[str, Any]) -> ValidationRow:
    return ValidationRow(entry["epoch"], {name: value for name, value in entry.items() if name not in PLACE})


def _statistics(train: Dataset, val: Dataset | None) -> dict[str, object]:
    sets, task = {"train": train} | ({"val": val} if val else {}), task_of(train)
    return {
        "format": train.format,
        "from": str(train.root),
        "pictures": {name: len(dataset) for name, dataset in sets.items()},
        **{f"{task.unit} by class, {name}": task.counts(dataset) for name, dataset in sets.items()},
    }
