"""Objects that are pointed at, for networks that answer prompts; truth, drawing and files are those of objects."""

from __future__ import annotations

from dataclasses import replace

from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.metrics.prompted.metric import PromptMetric
from everymask.metrics.scores import Metric
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.models.specs.prompted import PromptedSmall
from everymask.settings.plan import PromptedSettings
from everymask.settings.prompted_recipes import resolve_prompted
from everymask.tasks.instance import INSTANCE
from everymask.tasks.task import Judging


def _metrics(labels: Labels, spec: AnySpec | None, judging: Judging) -> dict[str, Metric[InstanceSet]]:
    return {"prompts": PromptMetric(labels)}


def _network(gpu: bool) -> tuple[ModelSpec, str]:
    return PromptedSmall(), "the small network that answers prompts, as no model was named"


def _candidates(gpu: bool) -> tuple[ModelSpec, ...]:
    return (PromptedSmall(),)


PROMPTED = replace(
    INSTANCE,
    finds="answers prompts, and finds nothing unasked",
    network=_network,
    candidates=_candidates,
    settings=PromptedSettings,
    recipe=resolve_prompted,
    metrics=_metrics,
    options=frozenset({"duplicate-iou"}),
    interactive=True,
)
