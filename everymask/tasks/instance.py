"""Objects one by one: boxes, and masks where they are annotated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from everymask.classical.bases import ObjectMethod
from everymask.core.arrays import Array, ByteArray
from everymask.core.joining.grid import Grid
from everymask.core.joining.objects import JoinedObjects
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.feed.pipelines import InstancePipeline
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError, printable
from everymask.metrics.instances import InstanceMetric
from everymask.metrics.scores import Metric
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.models.specs.detr import RFDETR, RFDETRSeg
from everymask.models.specs.onestage import OneStageSpec, RTMDetIns
from everymask.models.specs.queries import QuerySpec
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, mask_rcnn_small
from everymask.results.output import OutputFolder
from everymask.results.reading_maps import read_numbers
from everymask.results.writing_instances import InstanceFolder
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts
from everymask.settings.onestage_recipes import resolve_one_stage
from everymask.settings.plan import InstanceSettings, Plan
from everymask.settings.query_recipes import resolve_detr
from everymask.settings.recipes import resolve
from everymask.tasks.queries import or_queries
from everymask.tasks.task import Drawing, Judging, Limits, Task, Writing
from everymask.viz.draw import draw_instances


def _metrics(labels: Labels, spec: AnySpec | None, judging: Judging) -> dict[str, Metric[InstanceSet]]:
    limits = judging.limits or _limits(spec)
    return {"precision": InstanceMetric(labels, max_detections=limits.max_detections, masks=limits.masks)}


def _limits(spec: AnySpec | None) -> Limits:
    if isinstance(spec, ObjectMethod):
        return Limits(spec.max_detections, masks=True)
    if not isinstance(spec, FasterRCNN | OneStageSpec | RFDETR | QuerySpec):
        raise ConfigError(f"{type(spec).__name__} finds no objects")
    return Limits(spec.max_detections, has_masks(spec))


def has_masks(spec: AnySpec) -> bool:
    """Whether the objects that a network finds have masks, without which it learns nothing."""
    return isinstance(spec, MaskRCNN | RTMDetIns | RFDETRSeg | QuerySpec)


def _network(gpu: bool) -> tuple[ModelSpec, str]:
    if gpu:
        return MaskRCNN(), "a Mask R-CNN, as no model was named"
    return mask_rcnn_small(), "the small Mask R-CNN, as no model was named and there is no GPU: it learns in minutes"


def _recipe(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    match config.network:
        case OneStageSpec():
            return resolve_one_stage(config, measured, facts)
        case RFDETR():
            return resolve_detr(config, measured, facts)
        case _:
            return resolve(config, measured, facts)


def _candidates(gpu: bool) -> tuple[ModelSpec, ...]:
    small = mask_rcnn_small(), mask_rcnn_small(encoder="mobilenetv3_small_100")
    return (MaskRCNN(), *small) if gpu else small


def _draw(image: Array, found: InstanceSet, labels: Labels, drawing: Drawing) -> ByteArray:
    return draw_instances(image, found, labels, min_score=drawing.min_score, names=drawing.names, **drawing.options())


def _folder(labels: Labels, writing: Writing) -> OutputFolder[InstanceSet]:
    return InstanceFolder(writing.out, labels, **writing.options())


def _join(grid: Grid, labels: Labels, spec: AnySpec) -> JoinedObjects:
    return JoinedObjects(grid)


def _keep_sure(found: InstanceSet, min_score: float) -> InstanceSet:
    return found if found.scores is None else found[found.scores >= min_score]


def _sentence(found: InstanceSet, labels: Labels) -> str:
    """How many objects of which class, the commonest first."""
    counts = Counter(labels.names[class_id] for class_id in found.class_ids.tolist())
    listed = ", ".join(f"{number} {printable(kind, limit=40)}" for kind, number in counts.most_common(5))
    return f"{listed or 'no objects'}{', ...' if len(counts) > 5 else ''}"


def _counts(dataset: Dataset) -> dict[str, int]:
    """Objects by class, crowds aside, the commonest first."""
    counts = Counter(_class_ids(dataset))
    return {dataset.labels.names[class_id]: count for class_id, count in counts.most_common()}


def annotated_classes(dataset: Dataset) -> set[int]:
    """The ids of the classes of which there are objects, crowds aside."""
    return set(_class_ids(dataset))


def _class_ids(dataset: Dataset) -> Iterator[int]:
    """The class of each object, crowds aside."""
    return (class_id for record in dataset.records for class_id in record.objects.class_ids)


INSTANCE = Task(
    name="instance",
    truth=InstanceSet,
    finds="finds objects",
    content="objects",
    unit="objects",
    network=_network,
    candidates=_candidates,
    settings=InstanceSettings,
    recipe=or_queries(_recipe, InstanceSettings),
    feed=InstancePipeline,
    metrics=_metrics,
    options=frozenset({"duplicate-iou", "merge", "outline", "tile"}),
    tagged=True,
    draw=_draw,
    folder=_folder,
    read_found=read_numbers,
    keep_sure=_keep_sure,
    sentence=_sentence,
    counts=_counts,
    shown=annotated_classes,
    join=_join,
)
