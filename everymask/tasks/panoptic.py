"""Things one by one and a class for every pixel at once: panoptic maps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from everymask.core.arrays import Array, ByteArray
from everymask.core.joining.grid import Grid
from everymask.core.joining.segments import JoinedSegments
from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap
from everymask.data.dataset import Dataset
from everymask.data.feed.panoptic_pipelines import PanopticPipeline
from everymask.data.panoptic import PanopticCoding
from everymask.errors import printable
from everymask.metrics.panoptic.metric import PanopticMetric
from everymask.metrics.scores import Metric
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.models.specs.panoptic import PanopticFPN, panoptic_fpn_small
from everymask.results.output import OutputFolder
from everymask.results.reading_panoptic import read_panoptic
from everymask.results.writing_panoptic import PanopticFolder
from everymask.settings.panoptic_recipes import resolve_panoptic
from everymask.settings.plan import PanopticSettings
from everymask.tasks.queries import or_queries
from everymask.tasks.task import Drawing, Judging, Task, Writing
from everymask.viz.semantic import draw_panoptic


def _metrics(labels: Labels, spec: AnySpec | None, judging: Judging) -> dict[str, Metric[PanopticMap]]:
    boundary = {"boundary": PanopticMetric(labels, boundary=True)} if judging.boundary else {}
    return {"quality": PanopticMetric(labels), **boundary}


def _network(gpu: bool) -> tuple[ModelSpec, str]:
    if gpu:
        return PanopticFPN(), "a Panoptic FPN, as no model was named"
    return panoptic_fpn_small(), "the small Panoptic FPN, as no model was named and there is no GPU"


def _candidates(gpu: bool) -> tuple[ModelSpec, ...]:
    small = panoptic_fpn_small(), panoptic_fpn_small(encoder="mobilenetv3_small_100")
    return (PanopticFPN(), *small) if gpu else small


def _draw(image: Array, found: PanopticMap, labels: Labels, drawing: Drawing) -> ByteArray:
    return draw_panoptic(image, found, labels, min_score=drawing.min_score, legend=drawing.names, **drawing.options())


def _folder(labels: Labels, writing: Writing) -> OutputFolder[PanopticMap]:
    return PanopticFolder(writing.out, labels, **writing.options())


def _join(grid: Grid, labels: Labels, spec: AnySpec) -> JoinedSegments:
    return JoinedSegments(grid, labels, spec.least_stuff(grid.size) if isinstance(spec, PanopticFPN) else 0)


def _keep_sure(found: PanopticMap, min_score: float) -> PanopticMap:
    """Without the things that are less sure, whose pixels then have no segment; stuff has no score."""
    kept = tuple(one for one in found.segments if one.score is None or one.score >= min_score)
    if len(kept) == len(found.segments):
        return found
    left = replace(found, segments=kept)
    return replace(left, ids=left.looked_up([one.id for one in kept], 0).astype(found.ids.dtype))


def _sentence(found: PanopticMap, labels: Labels) -> str:
    """How many things of which class, the commonest first, and which stuff."""
    things = Counter(one.class_id for one in found.segments if one.class_id in labels.things)
    stuff = dict.fromkeys(one.class_id for one in found.segments if one.class_id not in labels.things)
    listed = [f"{count} {printable(labels.names[row], 40)}" for row, count in things.most_common(5)]
    listed += [printable(labels.names[row], 40) for row in list(stuff)[:5]]
    more = ", ..." if len(things) > 5 or len(stuff) > 5 else ""
    return (", ".join(listed) or "no segments") + more


def _counts(dataset: Dataset) -> dict[str, int]:
    """Segments by class, the commonest first; those made of label maps have not been counted."""
    counts = Counter(class_id for record in dataset.records for class_id in record.truth.class_ids)
    return {dataset.labels.names[class_id]: count for class_id, count in counts.most_common()}


def _shown(dataset: Dataset) -> set[int] | None:
    """The classes of segments; None of label maps whose pixels have not been counted."""
    painting = dataset.coding.painting if isinstance(dataset.coding, PanopticCoding) else None
    if painting is not None and painting.maps is not None and not all(r.truth.pixels for r in dataset.records):
        return None
    shown = {class_id for record in dataset.records for class_id in record.truth.classes}
    background = None if painting is None else painting.background
    return shown if background is None or not shown else {*shown, background}


PANOPTIC = Task(
    name="panoptic",
    truth=PanopticMap,
    finds="finds things and stuff",
    content="segments",
    unit="segments",
    network=_network,
    candidates=_candidates,
    settings=PanopticSettings,
    recipe=or_queries(resolve_panoptic, PanopticSettings),
    feed=PanopticPipeline,
    metrics=_metrics,
    options=frozenset({"boundary", "tile"}),
    tagged=True,
    draw=_draw,
    folder=_folder,
    read_found=read_panoptic,
    keep_sure=_keep_sure,
    sentence=_sentence,
    counts=_counts,
    shown=_shown,
    join=_join,
)
