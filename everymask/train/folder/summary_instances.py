"""What the report of a run says of a model that finds objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everymask.core.labels import Labels
from everymask.data.dataset import Dataset
from everymask.errors import counted
from everymask.infer.predictor import Predictor
from everymask.metrics.instances import InstanceScores, PictureScore
from everymask.viz.draw import draw_instances
from everymask.viz.report import (
    PICTURE_SIDE,
    ClassRow,
    ClassTable,
    Confusion,
    Headline,
    Panel,
    PrecisionRecall,
    ReportContent,
    typical_and_worst,
)


def with_instances(
    content: ReportContent, scores: InstanceScores, predictor: Predictor | None, val: Dataset
) -> ReportContent:
    """The content with these scores on `val`, and with typical and the worst pictures where there is a predictor."""
    typical, worst = _panels(predictor, val, scores) if predictor else ((), ())
    return replace(
        content,
        headlines=_headlines(scores) + content.headlines,
        precision_recall=_curves(scores),
        confusion=Confusion((*scores.per_class, "nothing"), scores.confusion),
        classes=_classes(scores, predictor.card.labels if predictor else val.labels),
        typical=typical,
        worst=worst,
    )


def _headlines(scores: InstanceScores) -> tuple[Headline, ...]:
    numbers, kind = (scores.mask, "mask") if scores.mask else (scores.box, "box")
    note = f"{counted(scores.num_pictures, 'validation picture')}, up to {scores.max_detections} objects each"
    return (
        Headline(f"{kind} AP50", f"{numbers.AP50:.3f}", note),
        Headline(f"{kind} AP", f"{numbers.AP:.3f}", "IoU 0.50 to 0.95"),
    )


def _curves(scores: InstanceScores) -> tuple[PrecisionRecall, ...]:
    curves = scores.precision_recall
    return tuple(
        PrecisionRecall(iou, curves.recall, np.stack(list(at.values())), tuple(at))
        for iou, at in ((0.50, curves.at_50), (0.75, curves.at_75))
        if at
    )


def _classes(scores: InstanceScores, labels: Labels) -> ClassTable:
    colours = dict(zip(labels.names, labels.colours, strict=True))
    rows = (
        ClassRow(name, (row.AP, row.AP50) if row.num_truths else (np.nan, np.nan), row.num_truths, colours.get(name))
        for name, row in scores.per_class.items()
    )
    return ClassTable(("AP", "AP50"), "objects", tuple(rows))


def _panels(predictor: Predictor, val: Dataset, scores: InstanceScores) -> tuple[tuple[Panel, ...], tuple[Panel, ...]]:
    ranked = sorted(
        (row for row in scores.pictures if row.num_truths or row.num_found), key=lambda row: (row.f1, row.id)
    )
    rows = {record.id: index for index, record in enumerate(val.records)}
    once, labels = predictor.without_duplicates(), predictor.card.labels

    def panel(row: PictureScore) -> Panel:
        sample = val[rows[row.id]]
        found = once.predict(sample).instances
        if found.scores is not None:
            found = found[found.scores >= scores.score_threshold]
        twice = row.num_found - len(found)
        caption = f"F1 {row.f1:.2f}: {row.num_matched} of {counted(row.num_truths, 'object')} found, {len(found)} drawn"
        caption += f" (and {twice} more on the same objects)" if twice > 0 else ""
        sides = ((val.objects(rows[row.id]), val.labels.coloured_as(labels)), (found, labels))
        drawn = [draw_instances(sample.image, one, of, side=PICTURE_SIDE) for one, of in sides]
        return Panel(row.id, caption, drawn[0], drawn[1])

    typical, worst = typical_and_worst(ranked)
    return tuple(map(panel, typical)), tuple(map(panel, worst))
