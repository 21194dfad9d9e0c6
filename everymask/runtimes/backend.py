"""A graph as a backend, whichever runtime calculates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import numpy as np

from everymask.classical.bases import MethodSpec
from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.segmentation import ChangeMap, SemanticMap
from everymask.errors import ConfigError, WeightsError
from everymask.infer.decoding.outputs import (
    Outputs,
    PanopticArrays,
    QueryArrays,
    RegionArrays,
    SemanticArrays,
    Wanted,
)
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, PromptArrays
from everymask.infer.decoding.video import FollowedArrays, Sought
from everymask.models.specs.any_spec import AnySpec
from everymask.models.specs.change import ChangeSpec
from everymask.models.specs.detr import RFDETR
from everymask.models.specs.onestage import OneStageSpec
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.prompted import PromptedSpec
from everymask.models.specs.queries import EoMT, Mask2Former, Purpose
from everymask.models.specs.regions import FasterRCNN, MaskPaste
from everymask.models.specs.semantic import SemanticSpec

INPUTS = ("images", "windows")
"""What graphs take, as `Backend.run` does; the second where they take one picture at a time."""
PROMPTS = ("points", "labels", "masks", "given")
"""What a graph that answers prompts takes beside what another has seen: see `everymask.runtimes.prompted`."""
MAPS = ("map_0", "map_1", "map_2")
"""What a graph that looks at a picture for prompts gives, the coarsest first; as many as there are."""
OUTPUTS = ("logits", "boxes", "class_ids", "scores", "mask_logits", "cut", "classes", "masks")
"""What graphs give: the fields of `SemanticArrays`, of `RegionArrays`, or of `QueryArrays`."""
TAPPED = "layer:"
"""How names begin of what a graph gives besides, so that its layers can be looked at."""
MOST_PIXELS = 1 << 20
"""Of a batch: as many as keep a processor busy."""


class Engine(Protocol):
    """A graph, loaded by a runtime. Threads may share it."""

    @property
    def name(self) -> str:
        """The runtime, and where it calculates: `onnxruntime cpu`."""

    def __call__(self, images: FloatArray, windows: IntArray) -> Mapping[str, Array]:
        """What the graph gives, by name, for what `Backend.run` is given."""

    def calculate(self, given: Mapping[str, Array]) -> Mapping[str, Array]:
        """What the graph gives, by name, for what it takes, by name; it may be given more."""


class OneLane:
    """What all backends of graphs say of pictures side by side."""

    __slots__ = ()

    @property
    def most_pixels(self) -> int:
        """As many as keep a processor busy."""
        return MOST_PIXELS

    @property
    def lanes(self) -> int:
        """One: runtimes share the cores among the parts of a picture by themselves."""
        return 1

    def open_lanes(self) -> Executor:
        """As the protocol says."""
        return ThreadPoolExecutor(1)

    def follow(self, seen: EmbeddingArrays, sought: Sequence[Sought]) -> list[FollowedArrays]:
        """No exported network remembers what it has seen."""
        raise ConfigError(
            "an exported model looks at pictures one by one, and follows nothing through a video",
            hint="take the model that it was exported from",
        )


@dataclass(frozen=True, slots=True)
class GraphBackend(OneLane):
    """A graph of the network that `spec` describes; `one_by_one` says that it takes one picture at a time."""

    engine: Engine
    spec: AnySpec
    one_by_one: bool

    @property
    def device(self) -> str:
        """The runtime and its device."""
        return self.engine.name

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """As the protocol says."""
        if not self.one_by_one:
            return self._outputs([self.engine(images, windows)])
        singles = (slice(row, row + 1) for row in range(len(images)))
        return self._outputs([self.engine(images[single], windows[single]) for single in singles])

    def _outputs(self, answers: list[Mapping[str, Array]]) -> Outputs:
        match self.spec:
            case PromptedSpec() | MethodSpec():
                raise WeightsError(f"a graph of {type(self.spec).__name__} is nothing that this version can run")
            case Mask2Former() | EoMT() as spec:
                (answer,) = answers
                if spec.purpose.dense:
                    return SemanticArrays(_given(answer, "logits"), "multiclass")
                return QueryArrays(_given(answer, "classes"), _given(answer, "masks"), spec)
            case PanopticFPN() as spec:
                logits = np.concatenate([_given(answer, "logits") for answer in answers])
                regions = _regions(answers, spec.profile.mask_paste)
                return PanopticArrays(regions, SemanticArrays(logits, "multiclass"), spec)
            case FasterRCNN() as spec:
                return _regions(answers, spec.profile.mask_paste)
            case OneStageSpec():
                return _regions(answers, "frame")
            case RFDETR():
                return _regions(answers, "quarter frame")
            case SemanticSpec() as spec:
                (answer,) = answers
                kind = SemanticMap if spec.fusion is None else ChangeMap
                return SemanticArrays(_given(answer, "logits"), spec.head, kind)
            case ChangeSpec() as spec:
                (answer,) = answers
                return SemanticArrays(_given(answer, "logits"), spec.head, ChangeMap)
            case _:
                assert_never(self.spec)

    def with_detections(self, most: int) -> GraphBackend:
        """The same: how many objects a graph finds was decided when it was exported, but for those of queries, which
        are counted when they are decoded; `ConfigError` for another number, and where it finds none.
        """
        purpose: Purpose | None = getattr(self.spec, "purpose", None)
        if purpose is not None and purpose.limited:
            return replace(self, spec=replace(self.spec, max_detections=most))  # type: ignore[arg-type]
        fixed = getattr(self.spec, "max_detections", None) if purpose is None else None
        if fixed is None:
            raise ConfigError(
                "the number of detections limits objects, but this model says of every pixel what it is",
                hint="leave out max-detections",
            )
        if most != fixed:
            raise ConfigError(
                f"this exported model finds up to {fixed} objects in a picture, and no other number than that",
                hint=f"export it again with --max-detections {most}",
            )
        return self

    def encode(self, image: FloatArray) -> EmbeddingArrays:
        """No exported network takes prompts."""
        raise ConfigError("a session answers prompts, but this model answers once and takes none", hint="call predict")

    def answer(self, seen: EmbeddingArrays, prompts: PromptArrays) -> MaskArrays:
        """As `encode`."""
        raise ConfigError("a session answers prompts, but this model answers once and takes none", hint="call predict")


def _regions(answers: list[Mapping[str, Array]], paste: MaskPaste) -> RegionArrays:
    """The objects of several pictures, each with an answer of its own."""
    counts = [len(_given(answer, "scores")) for answer in answers]
    columns = {
        name: np.concatenate([_given(answer, name) for answer in answers])
        for name in ("boxes", "class_ids", "scores", "mask_logits", "cut")
        if name in answers[0]
    }
    return RegionArrays(
        _given(columns, "boxes"),
        _given(columns, "class_ids"),
        _given(columns, "scores"),
        columns.get("mask_logits"),
        np.repeat(np.arange(len(answers)), counts),
        paste,
        columns.get("cut"),
    )


def _given(answer: Mapping[str, Array], name: str) -> Array:
    if name not in answer:
        raise WeightsError(
            f"the graph gives {', '.join(answer)}, but not {name}: it does not belong to its description"
        )
    return answer[name]
