"""`everymask evaluate`: how good a model is on annotated pictures."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.commands.options import Data, Reading, Trained
from everymask.commands.terminal import progress, show, show_json, table
from everymask.errors import DataError, require

if TYPE_CHECKING:
    from everymask.data.dataset import Dataset

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate(Reading):
    """Compare a model's predictions with annotated pictures: COCO's 12 numbers for boxes and masks, and per class."""

    model: Trained
    """A run folder, a .safetensors file, or a name of `everymask models`."""
    data: Data
    """A folder or an annotation file; the format is recognised."""
    split: str | None = None
    """Only this part of the data set: val, test, train ..."""
    max_detections: int | None = None
    """How many objects per picture count; otherwise what the model was trained for."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Evaluate) -> None:
    """Evaluate and print the scores."""
    require("torch", "train")
    from everymask.api import load
    from everymask.data.formats import read_dataset
    from everymask.evaluate import evaluate

    dataset = read_dataset(options.data, format=options.format, images=options.images, policy=options.on_defect)
    dataset = _part(dataset, options.split, Path(options.model) / "splits.json")
    model = load(options.model, device=options.device)
    with progress("evaluating") as move:
        report = evaluate(model, dataset, max_detections=options.max_detections, progress=move)
    if options.json:
        show_json(report.to_json())
        return
    scores = report.scores
    kinds = {"box": scores.box, "mask": scores.mask}
    numbers = {kind: score.to_json() for kind, score in kinds.items() if score is not None}
    show(
        table(
            f"{report.pictures} pictures, up to {scores.max_detections} objects each",
            ("", *numbers),
            ((name, *(score[name] for score in numbers.values())) for name in scores.box.to_json()),
        ),
        table(
            f"{'Mask' if scores.mask else 'Box'} AP by class",
            ("class", "AP", "AP50", "objects"),
            ((name, row.AP, row.AP50, row.num_truths) for name, row in scores.per_class.items()),
        ),
        f"{report.seconds:.3f} s per picture",
    )


def _part(dataset: Dataset, split: str | None, drawn: Path) -> Dataset:
    """The pictures of a split: of those that training drew where `drawn` tells of this data set, else of its own."""
    from everymask.data.splits import read_split

    if drawn.is_file():
        with suppress(DataError):
            dataset = read_split(drawn, dataset)
            if split is None and "train" in dataset.splits():
                _log.warning("the score includes pictures that the model was trained on; choose --split val")
    return dataset if split is None else dataset.split(split)
