"""`everymask predict`: masks on new pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands.options import Trained
from everymask.commands.terminal import progress, show, show_json
from everymask.errors import ConfigError, DataError, Issue

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor
    from everymask.infer.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    """Find objects in pictures and write overlays, instance-id PNGs, one COCO JSON and one CSV.

    A picture that cannot be read does not stop the others; it is listed at the end.
    """

    model: Trained
    """A run folder, a .safetensors file, or a name of `everymask models`."""
    sources: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="PICTURES")]
    """Pictures, folders of pictures, or patterns such as 'photos/*.jpg'."""
    out: Path
    """The folder to write."""
    min_score: float = 0.5
    """Leave out objects below this score."""
    max_detections: int | None = None
    """The most objects per picture; otherwise what the model was trained for."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    overwrite: bool = False
    """Write into a folder that is not empty; files of other names stay."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Predict) -> None:
    """Predict picture by picture, in constant memory."""
    from everymask.api import load
    from everymask.commands.sources import find_pictures
    from everymask.infer.writing import PredictionFolder

    if not 0 <= options.min_score <= 1:
        raise ConfigError(f"min-score must lie between 0 and 1, but got {options.min_score}")
    pictures = find_pictures(options.sources)
    model = load(options.model, device=options.device)
    if options.max_detections is not None:
        model = model.with_detections(options.max_detections)
    defects: list[Issue] = []
    objects = 0
    folder = PredictionFolder(options.out, model.card.labels, overwrite=options.overwrite, inputs=options.sources)
    with folder, progress("predicting") as move:
        for done, picture in enumerate(pictures, start=1):
            try:
                result = _sure(model, picture, options.min_score)
                folder.add(result)
                objects += len(result.instances)
            except DataError as error:
                defects.append(Issue("picture", error.message, hint=error.hint))
            move(done, len(pictures))
    if options.json:
        show_json(
            {
                "out": str(options.out),
                "pictures": folder.count,
                "objects": objects,
                "failed": [issue.message for issue in defects],
            }
        )
    else:
        show(f"{objects} objects in {folder.count} pictures: {options.out}")
    if defects:
        raise DataError(f"{len(defects)} of {len(pictures)} pictures could not be predicted", issues=defects)


def _sure(model: Predictor, picture: Path, min_score: float) -> Result:
    result = model.predict(picture)
    found = result.instances
    if found.scores is None:
        return result
    return replace(result, segmentation=found[found.scores >= min_score])
