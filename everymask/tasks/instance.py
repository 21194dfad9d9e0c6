"""Objects one by one: boxes, and masks where they are annotated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from everymask.core.arrays import Array, ByteArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.feed.pipelines import InstancePipeline
from everymask.errors import ConfigError, printable
from everymask.metrics.instances import InstanceMetric
from everymask.metrics.scores import Metric
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from everymask.results.output import OutputFolder
from everymask.results.writing_instances import InstanceFolder
from everymask.settings.plan import InstanceSettings
from everymask.settings.recipes import resolve
from everymask.tasks.task import Drawing, Judging, Task, Writing
from everymask.viz.draw import draw_instances


def _metrics(labels: Labels, spec: ModelSpec, judging: Judging) -> dict[str, Metric[InstanceSet]]:
    if not isinstance(spec, FasterRCNN):
        raise ConfigError(f"{type(spec).__name__} finds no objects")
    masks = isinstance(spec, MaskRCNN)
    return {"precision": InstanceMetric(labels, max_detections=spec.max_detections, masks=masks)}


def _draw(image: Array, found: InstanceSet, labels: Labels, drawing: Drawing) -> ByteArray:
    return draw_instances(image, found, labels, min_score=drawing.min_score, names=drawing.names, **drawing.options())


def _folder(labels: Labels, writing: Writing) -> OutputFolder[InstanceSet]:
    return InstanceFolder(
        writing.out,
        labels,
        overwrite=writing.overwrite,
        inputs=writing.inputs,
        overlay=writing.overlay,
        about=writing.about,
        resume=writing.resume,
    )


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
    items = (item for record in dataset.records for item in record.objects.annotations)
    return (item.class_id for item in items if not item.crowd)


INSTANCE = Task(
    name="instance",
    truth=InstanceSet,
    noun="annotated objects",
    finds="finds objects",
    content="objects",
    unit="objects",
    network=MaskRCNN(),
    settings=InstanceSettings,
    recipe=resolve,
    feed=InstancePipeline,
    metrics=_metrics,
    tiled=False,
    tagged=True,
    draw=_draw,
    folder=_folder,
    keep_sure=_keep_sure,
    sentence=_sentence,
    counts=_counts,
    shown=annotated_classes,
)
