"""`everymask evaluate`: how good a model is on annotated pictures."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.commands.judged import load_judged
from everymask.commands.options import Data, Scoring, Trained, class_names, together
from everymask.commands.terminal import progress, show, show_json, table
from everymask.errors import counted
from everymask.metrics.scores import without_nan


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
    track: bool = False
    """Judge objects that were followed through a video: MODEL is a folder that predict --track wrote, DATA one of PNGs
    with the objects' true numbers, called as the frames. J and F as in DAVIS."""


def run(options: Evaluate) -> None:
    """Evaluate and print the scores."""
    if options.track:
        _run_track(options)
        return
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


def _run_track(options: Evaluate) -> None:
    from everymask.infer.prompted.judged import evaluate_tracks

    scores = evaluate_tracks(options.model, options.data)
    numbers, objects = scores.numbers(), scores.by_object()
    if options.json:
        judged = {str(number): {"J": region, "F": contour} for number, (region, contour) in objects.items()}
        show_json({**without_nan(numbers), "frames": len(scores.frames), "objects": judged})
        return
    said = f"{counted(len(scores.frames), 'frame')} (without the first and the last)"
    rows = tuple((name, number) for name, number in numbers.items())
    by_object = tuple((str(number), *both) for number, both in objects.items())
    show(table(said, ("", "score"), rows), table("by object", ("object", "J", "F"), by_object))
