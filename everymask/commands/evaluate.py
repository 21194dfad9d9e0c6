"""`everymask evaluate`: how good a model is on annotated pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from everymask.commands.options import Data, Scoring, Trained, check_order, load_predictor
from everymask.commands.terminal import progress, show, show_json, table
from everymask.errors import counted, require

if TYPE_CHECKING:
    from rich.console import Group

    from everymask.metrics.calibration import CalibrationScores
    from everymask.metrics.instances import InstanceScores
    from everymask.metrics.semantic import SemanticScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate(Scoring):
    """Compare a model's predictions with annotated pictures.

    Objects by COCO's 12 numbers for boxes and masks, label maps by IoU, Dice, accuracy and boundary IoU; and per class.
    """

    model: Trained
    """A run folder, a .safetensors file, or a name of `everymask models`."""
    data: Data
    """A folder or an annotation file; the format is recognised."""
    max_detections: int | None = None
    """How many objects per picture count; otherwise what the model was trained for."""
    calibration: bool = False
    """Also whether a model of label maps is as sure as it is right: ECE, MCE, and the bins they are taken from."""


def run(options: Evaluate) -> None:
    """Evaluate and print the scores."""
    require("torch", "train")
    from everymask.commands.sources import read_annotated
    from everymask.evaluate import evaluate
    from everymask.metrics.semantic import SemanticScores

    check_order("evaluate", options.model, [str(options.data)])
    model = load_predictor(options.model, options)
    dataset = read_annotated(
        options.data,
        options,
        decode=options.on_defect == "skip",
        task="semantic" if model.is_semantic else None,
    )
    with progress("evaluating") as move:
        report = evaluate(
            model,
            dataset,
            split=options.split,
            max_detections=options.max_detections,
            void=options.void,
            calibration=options.calibration,
            progress=move,
        )
    if options.json:
        show_json(report.to_json())
        return
    match report.scores:
        case SemanticScores() as scores:
            tables = _overlap_tables(scores)
        case scores:
            tables = _precision_tables(scores)
    if report.calibration is not None:
        tables.append(_calibration_table(report.calibration))
    show(*tables, f"{report.seconds:.3f} s per picture")


def _precision_tables(scores: InstanceScores) -> list[Group]:
    kinds = {"box": scores.box, "mask": scores.mask}
    numbers = {kind: score.to_json() for kind, score in kinds.items() if score is not None}
    return [
        table(
            f"{counted(scores.num_pictures, 'picture')}, up to {counted(scores.max_detections, 'object')} each",
            ("", *numbers),
            ((name, *(score[name] for score in numbers.values())) for name in scores.box.to_json()),
        ),
        table(
            f"{'Mask' if scores.mask else 'Box'} AP by class",
            ("class", "AP", "AP50", "objects"),
            ((name, row.AP, row.AP50, row.num_truths) for name, row in scores.per_class.items()),
        ),
    ]


def _overlap_tables(scores: SemanticScores) -> list[Group]:
    low, high = scores.interval
    numbers = {
        "mIoU": scores.mean_iou,
        "  95 % interval, from": low,
        "  to": high,
        "frequency-weighted IoU": scores.frequency_weighted_iou,
        "pixel accuracy": scores.pixel_accuracy,
        "mean accuracy": scores.mean_accuracy,
        "mean Dice": scores.mean_dice,
        "mean boundary IoU": scores.mean_boundary_iou,
    }
    pixels = sum(row.num_truth for row in scores.per_class.values())
    columns = ("iou", "boundary_iou", "dice", "accuracy")
    return [
        table(
            f"{counted(scores.num_pictures, 'picture')}; pixels without truth are {scores.void}",
            ("", "value"),
            ((name, _number(value)) for name, value in numbers.items()),
        ),
        table(
            "By class",
            ("class", "IoU", "boundary IoU", "Dice", "accuracy", "pixels", "share"),
            (
                (
                    name,
                    *(_number(getattr(row, column)) for column in columns),
                    f"{row.num_truth:,}",
                    f"{100 * row.num_truth / max(pixels, 1):.1f} %",
                )
                for name, row in scores.per_class.items()
            ),
        ),
    ]


def _calibration_table(scores: CalibrationScores) -> Group:
    bins, pixels = len(scores.counts), max(int(scores.counts.sum()), 1)
    return table(
        f"Calibration: ECE {scores.expected_error:.3f}, MCE {scores.largest_error:.3f}",
        ("confidence", "mean", "accuracy", "pixels", "share"),
        (
            (
                f"{row / bins:.2f} to {(row + 1) / bins:.2f}",
                float(scores.confidence[row]),
                float(scores.accuracy[row]),
                f"{count:,}",
                f"{100 * count / pixels:.1f} %",
            )
            for row, count in enumerate(scores.counts.tolist())
            if count
        ),
    )


def _number(value: float) -> float | str:
    return "-" if math.isnan(value) else value
