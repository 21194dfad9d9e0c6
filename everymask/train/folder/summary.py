"""The report of a run, put together from its log, its scores and a few of its pictures."""

from __future__ import annotations

import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any, assert_never

import torch
import torchvision

import everymask
from everymask.data.dataset import Dataset, Kind, LabelMapFile, NotAnnotated, Objects, PanopticFile
from everymask.errors import counted
from everymask.evaluate import Report
from everymask.infer.predictor import Predictor
from everymask.metrics.instances import InstanceScores
from everymask.metrics.semantic import SemanticScores
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import read_log
from everymask.train.folder.summary_instances import with_instances
from everymask.train.folder.summary_semantic import with_semantic
from everymask.viz.report import Headline, ReportContent, StepRow, ValidationRow, write_report

_PLACE = {"kind", "step", "epoch", "seconds"}
_UNITS: dict[Kind, str] = {"objects": "objects", "label maps": "pixels", "panoptic": "segments"}


def write_summary(
    folder: Path,
    config: TrainConfig,
    train: Dataset,
    val: Dataset | None,
    report: Report | None,
    predictor: Predictor | None,
    ended: str,
) -> None:
    """Write `report.html`. Without a `report` it shows how training went and not how good the model is."""
    entries = read_log(folder / "log.jsonl")
    steps = [entry for entry in entries if entry["kind"] == "step"]
    content = ReportContent(
        title=folder.resolve().name,
        when=time.strftime("%Y-%m-%d %H:%M"),
        headlines=_of_training(steps, ended),
        steps=[_step_row(entry) for entry in steps],
        validations=[_validation_row(entry) for entry in entries if entry["kind"] == "validation"],
        dataset=_statistics(train, val),
        issues=train.issues,
        settings=config.to_json(),
        versions={
            "everymask": everymask.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    )
    if report and val:
        match report.scores:
            case InstanceScores() as scores:
                content = with_instances(content, scores, predictor, val)
            case SemanticScores() as scores:
                content = with_semantic(content, scores, predictor, val)
    write_report(folder / "report.html", content)


def _of_training(steps: list[dict[str, Any]], ended: str) -> tuple[Headline, ...]:
    if not steps:
        return ()
    minutes = f"{steps[-1]['seconds'] / 60:.1f} min"
    return (
        Headline("training", minutes, f"{counted(steps[-1]['step'], 'step')}; ended: {ended}"),
        Headline("memory", f"{max(entry['memory_mb'] for entry in steps):,.0f} MB", "at most"),
    )


def _step_row(entry: dict[str, Any]) -> StepRow:
    losses = {name: value for name, value in entry.items() if name.startswith("loss")}
    return StepRow(entry["step"], losses, entry["epoch"], entry["lr"], entry["images_per_second"])


def _validation_row(entry: dict[str, Any]) -> ValidationRow:
    return ValidationRow(entry["epoch"], {name: value for name, value in entry.items() if name not in _PLACE})


def _statistics(train: Dataset, val: Dataset | None) -> dict[str, object]:
    sets = {"train": train} | ({"val": val} if val else {})
    return {
        "format": train.format,
        "from": str(train.root),
        "pictures": {name: len(dataset) for name, dataset in sets.items()},
        **{f"{_UNITS[train.kind]} by class, {name}": _counts(dataset) for name, dataset in sets.items()},
    }


def _counts(dataset: Dataset) -> dict[str, int]:
    """Objects, or pixels of label maps; those of maps painted from objects have not been counted."""
    counts: Counter[int] = Counter()
    for record in dataset.records:
        match record.truth:
            case LabelMapFile(pixels=pixels):
                counts.update(dict(enumerate(pixels)))
            case Objects(annotations):
                if dataset.kind == "objects":
                    counts.update(item.class_id for item in annotations if not item.crowd)
            case PanopticFile(segments=segments):
                counts.update(segment.class_id for segment in segments if not segment.crowd)
            case NotAnnotated():
                pass
            case _:
                assert_never(record.truth)
    return {dataset.labels.names[class_id]: count for class_id, count in counts.most_common()}
