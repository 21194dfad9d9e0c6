"""What the report of a run says of a model that gives label maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from everymask.core.segmentation import SemanticMap
from everymask.data.dataset import Dataset
from everymask.errors import counted
from everymask.infer.predictor import Predictor
from everymask.metrics.semantic import SemanticPictureScore, SemanticScores
from everymask.viz.report import (
    PICTURE_SIDE,
    ClassRow,
    ClassTable,
    Confusion,
    Headline,
    Panel,
    ReportContent,
    typical_and_worst,
)
from everymask.viz.semantic import draw_semantic


def with_semantic(
    content: ReportContent, scores: SemanticScores, predictor: Predictor | None, val: Dataset
) -> ReportContent:
    """The content with these scores on `val`, and with typical and the worst pictures where there is a predictor."""
    typical, worst = _panels(predictor, val.semantic(), scores) if predictor else ((), ())
    colours = dict(zip(predictor.card.labels.names, predictor.card.labels.colours, strict=True)) if predictor else {}
    rows = (
        ClassRow(name, (row.iou, row.boundary_iou, row.accuracy), row.num_truth, colours.get(name))
        for name, row in scores.per_class.items()
    )
    return replace(
        content,
        headlines=_headlines(scores) + content.headlines,
        confusion=_confusion(scores),
        classes=ClassTable(("IoU", "boundary IoU", "accuracy"), "pixels", tuple(rows)),
        typical=typical,
        worst=worst,
    )


def _headlines(scores: SemanticScores) -> tuple[Headline, ...]:
    low, high = scores.interval
    pictures = counted(scores.num_pictures, "validation picture")
    sure = "" if math.isnan(low) else f"; 95 % interval {low:.3f} to {high:.3f}"
    return (
        Headline("mIoU", f"{scores.mean_iou:.3f}", f"{pictures}{sure}"),
        Headline("pixel accuracy", f"{scores.pixel_accuracy:.3f}", f"pixels without truth are {scores.void}"),
    )


def _confusion(scores: SemanticScores) -> Confusion:
    """Per cent of each row; the void's row and column only where there is something in them."""
    counts, names = scores.confusion, (*scores.per_class, "nothing")
    if not counts[-1].any() and not counts[:, -1].any():
        counts, names = counts[:-1, :-1], names[:-1]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return Confusion(names, shares.round(1), "% of the true pixels")


def _panels(predictor: Predictor, val: Dataset, scores: SemanticScores) -> tuple[tuple[Panel, ...], tuple[Panel, ...]]:
    ranked = sorted(
        (row for row in scores.pictures if not math.isnan(row.mean_iou)), key=lambda row: (row.mean_iou, row.id)
    )
    rows = {record.id: index for index, record in enumerate(val.records)}

    def panel(row: SemanticPictureScore) -> Panel:
        sample = val[rows[row.id]]
        result = predictor.predict(sample)
        caption = f"mIoU {row.mean_iou:.2f}, {100 * row.pixel_accuracy:.1f} % of the pixels right"
        truth = sample.truth if isinstance(sample.truth, SemanticMap) else result.semantic
        labels = predictor.card.labels
        sides = ((truth, val.labels.coloured_as(labels)), (result.semantic, labels))
        drawn = [draw_semantic(sample.image, one, of, legend=False, side=PICTURE_SIDE) for one, of in sides]
        return Panel(row.id, caption, drawn[0], drawn[1])

    typical, worst = typical_and_worst(ranked)
    return tuple(map(panel, typical)), tuple(map(panel, worst))
