"""`everymask predict`: masks on new pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from everymask.commands.options import Trained, check_order
from everymask.commands.terminal import progress, show, show_json
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError, DataError, Issue, counted, printable

if TYPE_CHECKING:
    from everymask.infer.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    """Segment pictures and write overlays and one CSV; of objects also instance-id PNGs and one COCO JSON, of semantic
    models label maps.

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
    overlay: Literal["png", "jpg", "none"] = "png"
    """Format of the drawn pictures; for many large pictures jpg, or none, saves time and space."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    precision: Literal["auto", "exact"] = "auto"
    """exact keeps to float32; auto is bfloat16 where the hardware calculates it: half the time, nearly the same."""
    overwrite: bool = False
    """Write into a folder that is not empty; files of other names stay."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Predict) -> None:
    """Predict picture by picture, in constant memory."""
    from everymask.api import load
    from everymask.commands.sources import find_pictures
    from everymask.infer.writing import PredictionFolder
    from everymask.infer.writing_maps import LabelMapFolder

    if not options.sources:
        raise ConfigError(
            f"predict needs a model and pictures, but got only {printable(options.model)}",
            hint="for example: everymask predict runs/a photos/ --out masks",
        )
    if not 0 <= options.min_score <= 1:
        raise ConfigError(f"min-score must lie between 0 and 1, but got {options.min_score}")
    check_order("predict", options.model, options.sources)
    pictures = find_pictures(options.sources)
    model = load(options.model, device=options.device, precision=options.precision)
    if options.max_detections is not None:
        model = model.with_detections(options.max_detections)
    defects: list[Issue] = []
    found: Counter[str] = Counter()
    kind = LabelMapFolder if model.is_semantic else PredictionFolder
    folder = kind(
        options.out,
        model.card.labels,
        overwrite=options.overwrite,
        inputs=options.sources,
        overlay=options.overlay,
    )
    with folder, progress("predicting") as move:
        for done, picture in enumerate(pictures, start=1):
            try:
                result = model.predict(picture)
                result = result if model.is_semantic else _sure(result, options.min_score)
                folder.add(result)
                found += _counts(result)
            except DataError as error:
                defects.append(Issue("picture", error.message, hint=error.hint))
            move(done, len(pictures))
    if options.json:
        show_json(
            {
                "out": str(options.out),
                "pictures": folder.count,
                **({"pixels": dict(found)} if model.is_semantic else {"objects": found.total()}),
                "failed": [issue.message for issue in defects],
            }
        )
    else:
        what = _shares(found) if model.is_semantic else counted(found.total(), "object")
        show(f"{what} in {counted(folder.count, 'picture')}: {options.out}")
    if defects:
        raise DataError(f"{len(defects)} of {counted(len(pictures), 'picture')} could not be predicted", issues=defects)


def _counts(result: Result) -> Counter[str]:
    """How many pixels of a label map, or objects, are of each class."""
    if isinstance(result.segmentation, SemanticMap):
        return Counter({area.name: area.pixels for area in result.areas()})
    return Counter(row.name for row in result.objects())


def _shares(pixels: Counter[str]) -> str:
    """The largest classes and their shares of the pixels that have one."""
    shown = [f"{100 * count / pixels.total():.0f} % {printable(name, 40)}" for name, count in pixels.most_common(5)]
    return (", ".join(shown) or "no class") + (", ..." if len(pixels) > len(shown) else "")


def _sure(result: Result, min_score: float) -> Result:
    found = result.instances
    if found.scores is None:
        return result
    return replace(result, segmentation=found[found.scores >= min_score])
