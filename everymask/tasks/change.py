"""What changed between two dates."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import Array, ByteArray
from everymask.core.labels import Labels
from everymask.core.rows import count_pairs
from everymask.core.segmentation import ChangeMap
from everymask.data.feed.change_pipelines import ChangePipeline
from everymask.errors import printable
from everymask.metrics.calibration import CalibrationMetric
from everymask.metrics.change.metric import ChangeMetric
from everymask.metrics.scores import Metric
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.results.output import OutputFolder
from everymask.results.reading_maps import read_changes
from everymask.results.writing_change import ChangeFolder
from everymask.settings.change_recipes import resolve_change, usual_change_network
from everymask.settings.plan import ChangeSettings
from everymask.tasks.semantic import counted_pixels, shown_classes
from everymask.tasks.task import Drawing, Judging, Task, Writing
from everymask.viz.change import draw_change

_LISTED = 5


def _metrics(labels: Labels, spec: AnySpec | None, judging: Judging) -> dict[str, Metric[ChangeMap]]:
    calibration = {"calibration": CalibrationMetric()} if judging.calibration else {}
    return {"change": ChangeMetric(labels, void=judging.void), **calibration}


def _network(gpu: bool) -> tuple[ModelSpec, str]:
    return usual_change_network(), "a U-Net whose encoder sees both dates, as no model was named"


def _candidates(gpu: bool) -> tuple[ModelSpec, ...]:
    return tuple(map(usual_change_network, ("resnet34", "resnet18", "mobilenetv3_small_100")))


def _draw(image: Array, found: ChangeMap, labels: Labels, drawing: Drawing) -> ByteArray:
    return draw_change(image, found, labels, before=drawing.before, legend=drawing.names, **drawing.options())


def _folder(labels: Labels, writing: Writing) -> OutputFolder[ChangeMap]:
    return ChangeFolder(writing.out, labels, maps=writing.maps, **writing.options())


def _keep_sure(found: ChangeMap, min_score: float) -> ChangeMap:
    """All of it: every pixel has its most probable class, however sure that is."""
    return found


def _sentence(found: ChangeMap, labels: Labels) -> str:
    """The shares of what changed."""
    rows = [row for row in found.rows(labels) if row.name != labels.names[0]]
    if found.was is None:
        return ", ".join(f"{100 * row.share:.2g} % {printable(row.name, limit=40)}" for row in rows) or "no change"
    pixels = count_pairs(found.was, found.ids, len(labels))
    pixels[0, 0] = 0
    pairs = [divmod(place, len(labels)) for place in np.argsort(-pixels, axis=None, kind="stable")[:_LISTED].tolist()]
    named = [(pixels[pair], *(printable(labels.names[one], limit=40) for one in pair)) for pair in pairs]
    listed = [f"{100 * count / found.ids.size:.2g} % {was} to {now}" for count, was, now in named if count]
    return ", ".join(listed) or "no change"


CHANGE = Task(
    name="change",
    truth=ChangeMap,
    finds="finds what changed between two dates",
    content="change",
    unit="pixels",
    network=_network,
    candidates=_candidates,
    settings=ChangeSettings,
    recipe=resolve_change,
    feed=ChangePipeline,
    metrics=_metrics,
    options=frozenset({"tile", "tta-flip and tta-scales", "calibration", "maps"}),
    tagged=False,
    draw=_draw,
    folder=_folder,
    read_found=read_changes,
    keep_sure=_keep_sure,
    sentence=_sentence,
    counts=counted_pixels,
    shown=shown_classes,
)
