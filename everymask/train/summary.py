"""The report of a run, put together from its log, its scores and a few of its pictures."""

from __future__ import annotations

import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

import everymask
from everymask.core.labels import Labels
from everymask.data.dataset import Dataset
from everymask.evaluate import Report
from everymask.infer.predictor import Predictor
from everymask.metrics.instances import InstanceScores
from everymask.train.config import TrainConfig
from everymask.train.logs import read_log
from everymask.viz.draw import draw_instances
from everymask.viz.report import (
    ClassRow,
    Confusion,
    Headline,
    Panel,
    PrecisionRecall,
    ReportContent,
    StepRow,
    ValidationRow,
    write_report,
)

_PANELS = 6


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
    scores = None if report is None else report.scores
    best, worst = _panels(predictor, val, scores) if predictor and val and scores else ((), ())
    content = ReportContent(
        title=folder.resolve().name,
        when=time.strftime("%Y-%m-%d %H:%M"),
        headlines=_headlines(scores, steps, ended),
        steps=[_step_row(entry) for entry in steps],
        validations=[_validation_row(entry) for entry in entries if entry["kind"] == "validation"],
        precision_recall=_curves(scores) if scores else (),
        confusion=Confusion((*train.labels.names, "nothing"), scores.confusion) if scores else None,
        classes=_classes(scores) if scores else (),
        best=best,
        worst=worst,
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
    write_report(folder / "report.html", content)


def _headlines(scores: InstanceScores | None, steps: list[dict[str, Any]], ended: str) -> tuple[Headline, ...]:
    cards: list[Headline] = []
    if scores is not None:
        numbers, kind = (scores.mask, "mask") if scores.mask else (scores.box, "box")
        note = f"{scores.num_pictures} validation pictures, up to {scores.max_detections} objects each"
        cards.append(Headline(f"{kind} AP50", f"{numbers.AP50:.3f}", note))
        cards.append(Headline(f"{kind} AP", f"{numbers.AP:.3f}", "IoU 0.50 to 0.95"))
    if steps:
        minutes = f"{steps[-1]['seconds'] / 60:.1f} min"
        cards.append(Headline("training", minutes, f"{steps[-1]['step']:,} steps; ended: {ended}"))
        cards.append(Headline("memory", f"{max(entry['memory_mb'] for entry in steps):,.0f} MB", "at most"))
    return tuple(cards)


def _step_row(entry: dict[str, Any]) -> StepRow:
    losses = {name: value for name, value in entry.items() if name.startswith("loss")}
    return StepRow(entry["step"], losses, entry["epoch"], entry["lr"], entry["images_per_second"])


def _validation_row(entry: dict[str, Any]) -> ValidationRow:
    return ValidationRow(entry["epoch"], {name: value for name, value in entry.items() if " AP" in name})


def _curves(scores: InstanceScores) -> tuple[PrecisionRecall, ...]:
    curves = scores.precision_recall
    return tuple(
        PrecisionRecall(iou, curves.recall, np.stack(list(at.values())), tuple(at))
        for iou, at in ((0.50, curves.at_50), (0.75, curves.at_75))
        if at
    )


def _classes(scores: InstanceScores) -> tuple[ClassRow, ...]:
    return tuple(
        ClassRow(
            name,
            row.AP if row.num_truths else float("nan"),
            row.AP50 if row.num_truths else float("nan"),
            row.num_truths,
        )
        for name, row in scores.per_class.items()
    )


def _panels(predictor: Predictor, val: Dataset, scores: InstanceScores) -> tuple[tuple[Panel, ...], tuple[Panel, ...]]:
    ranked = sorted(
        (row for row in scores.pictures if row.num_truths or row.num_found), key=lambda row: (row.f1, row.id)
    )
    count = min(_PANELS, len(ranked) // 2)
    rows = {record.id: index for index, record in enumerate(val.records)}

    def panel(row: Any) -> Panel:
        sample = val[rows[row.id]]
        result = predictor.predict(sample)
        caption = f"F1 {row.f1:.2f}: {row.num_matched} of {row.num_truths} objects found, {row.num_found} drawn"
        truth = draw_instances(sample.image, val.truth(rows[row.id]), val.labels)
        return Panel(row.id, caption, truth, result.draw(min_score=scores.score_threshold))

    return tuple(map(panel, ranked[::-1][:count])), tuple(map(panel, ranked[:count]))


def _statistics(train: Dataset, val: Dataset | None) -> dict[str, object]:
    sets = {"train": train} | ({"val": val} if val else {})
    return {
        "format": train.format,
        "from": str(train.root),
        "pictures": {name: len(dataset) for name, dataset in sets.items()},
        **{f"objects by class, {name}": _counts(dataset, train.labels) for name, dataset in sets.items()},
    }


def _counts(dataset: Dataset, labels: Labels) -> dict[str, int]:
    counts = Counter(item.class_id for record in dataset.records for item in record.annotations if not item.crowd)
    return {labels.names[class_id]: count for class_id, count in counts.most_common()}
