"""`everymask evaluate`: how good a model is on annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.commands.judged import load_judged
from everymask.commands.options import Data, Scoring, Trained, class_names, together
from everymask.commands.terminal import progress, show, show_json, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate(Scoring):
    """Compare a model's predictions with annotated pictures.

    Objects by COCO's 12 numbers for boxes and masks, label maps by IoU, Dice, accuracy and boundary IoU; and per class.
    """

    model: Trained
    """A run folder, a .safetensors file, a bundle (.emz), or a name of `everymask models`; or predictions: COCO results
    (.json), or a folder of label maps or object numbers."""
    data: Data
    """A folder or an annotation file; the format is recognised."""
    max_detections: int | None = None
    """How many objects per picture count; otherwise what the model was trained for."""
    merge: str | None = None
    """Judge panoptic maps: things as MODEL finds them, and stuff as this model of label maps says."""
    boundary: bool = False
    """Also boundary PQ of panoptic maps: how well the segments' borders fit. Label maps always have boundary IoU."""
    calibration: bool = False
    """Also whether a model of label maps is as sure as it is right: ECE, MCE, and the bins they are taken from."""


def run(options: Evaluate) -> None:
    """Evaluate and print the scores."""
    from everymask.evaluate import evaluate

    with together(options) as (rank, own):
        with rank.first_on_machine():
            (model,), dataset = load_judged("evaluate", [options.model], options.data, own, merge=options.merge)
        with progress("evaluating", shown=rank.leads) as move:
            report = evaluate(
                model,
                dataset,
                split=options.split,
                max_detections=options.max_detections,
                void=options.void,
                calibration=options.calibration,
                boundary=options.boundary,
                classes=class_names(options),
                progress=move,
                rank=rank,
            )
    if not rank.leads:
        return
    if options.json:
        show_json(report.to_json())
        return
    tables = (made for scores in report.parts() for made in scores.tables())
    show(*(table(made.title, made.columns, made.rows) for made in tables), f"{report.seconds:.3f} s per picture")
