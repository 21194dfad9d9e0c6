"""A class for every pixel: label maps."""

from __future__ import annotations

from collections import Counter

import numpy as np

from everymask.core.arrays import Array, ByteArray
from everymask.core.labels import Labels
from everymask.core.segmentation import SemanticMap
from everymask.data.change.coding import ChangeCoding
from everymask.data.dataset import Dataset
from everymask.data.feed.semantic_pipelines import SemanticPipeline
from everymask.data.painting import Painting
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import LabelMapFile
from everymask.errors import printable
from everymask.metrics.calibration import CalibrationMetric
from everymask.metrics.scores import Metric
from everymask.metrics.semantic import SemanticMetric
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.models.specs.semantic import UNet
from everymask.results.output import OutputFolder
from everymask.results.reading_maps import read_maps
from everymask.results.writing_semantic import SemanticFolder
from everymask.settings.plan import SemanticSettings
from everymask.settings.semantic_recipes import resolve_semantic
from everymask.tasks.instance import annotated_classes
from everymask.tasks.queries import or_queries
from everymask.tasks.task import Drawing, Judging, Task, Writing
from everymask.viz.semantic import draw_semantic


def _metrics(labels: Labels, spec: AnySpec | None, judging: Judging) -> dict[str, Metric[SemanticMap]]:
    overlap = SemanticMetric(labels, void=judging.void)
    calibration = {"calibration": CalibrationMetric()} if judging.calibration else {}
    return {"overlap": overlap, **calibration}


def _network(gpu: bool) -> tuple[ModelSpec, str]:
    return UNet(), "a U-Net, as no model was named"


def _candidates(gpu: bool) -> tuple[ModelSpec, ...]:
    return UNet(), UNet(encoder="resnet18"), UNet(encoder="mobilenetv3_small_100")


def _draw(image: Array, found: SemanticMap, labels: Labels, drawing: Drawing) -> ByteArray:
    return draw_semantic(image, found, labels, legend=drawing.names, **drawing.options())


def _folder(labels: Labels, writing: Writing) -> OutputFolder[SemanticMap]:
    return SemanticFolder(writing.out, labels, maps=writing.maps, **writing.options())


def _keep_sure(found: SemanticMap, min_score: float) -> SemanticMap:
    """All of it: every pixel has its most probable class, however sure that is."""
    return found


def _sentence(found: SemanticMap, labels: Labels) -> str:
    """The shares of the largest classes."""
    rows = found.rows(labels)
    listed = ", ".join(f"{100 * row.share:.0f} % {printable(row.name, limit=40)}" for row in rows[:5])
    return f"{listed or 'no class'}{', ...' if len(rows) > 5 else ''}"


def counted_pixels(dataset: Dataset) -> dict[str, int]:
    """Pixels by class, the commonest first; those of maps made of objects or segments have not been counted."""
    counts: Counter[int] = Counter()
    for pixels in _counted(dataset):
        counts.update(dict(enumerate(pixels)))
    return {dataset.labels.names[class_id]: count for class_id, count in counts.most_common()}


def shown_classes(dataset: Dataset) -> set[int] | None:
    """The ids of the classes that label maps show; None where they must be read to know."""
    painting = dataset.coding.maps if isinstance(dataset.coding, ChangeCoding) else dataset.coding
    if isinstance(painting, Painting):
        objects = annotated_classes(dataset)
        return {painting.background, *(painting.classes[class_id] for class_id in objects)} if objects else set()
    if isinstance(painting, PanopticCoding):
        return {class_id for record in dataset.records for class_id in record.truth.classes}
    pixels = _counted(dataset)
    return set(np.flatnonzero(np.sum(pixels, axis=0)).tolist()) if all(pixels) else None


def _counted(dataset: Dataset) -> list[tuple[int, ...]]:
    """The pixels by class of each label map that is a file; empty where they have not been counted."""
    return [record.truth.pixels for record in dataset.records if isinstance(record.truth, LabelMapFile)]


SEMANTIC = Task(
    name="semantic",
    truth=SemanticMap,
    finds="says of every pixel what it is",
    content="class",
    unit="pixels",
    network=_network,
    candidates=_candidates,
    settings=SemanticSettings,
    recipe=or_queries(resolve_semantic, SemanticSettings),
    feed=SemanticPipeline,
    metrics=_metrics,
    options=frozenset({"tile", "tta-flip and tta-scales", "calibration", "maps", "split-objects"}),
    tagged=False,
    draw=_draw,
    folder=_folder,
    read_found=read_maps,
    keep_sure=_keep_sure,
    sentence=_sentence,
    counts=counted_pixels,
    shown=shown_classes,
)
