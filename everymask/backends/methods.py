"""Methods without a network as the backend: numpy and OpenCV, never torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from everymask.classical.bases import Method, ObjectMethod, PixelMethod
from everymask.classical.feed import fed
from everymask.classical.forest import Forest
from everymask.classical.found import method_objects, pixel_logits
from everymask.classical.named import labels_of_method, method_name
from everymask.classical.specs import PixelForest
from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError
from everymask.infer.decoding.found_objects import FoundObjects
from everymask.infer.decoding.outputs import Outputs, SemanticArrays, Wanted
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, PromptArrays
from everymask.infer.decoding.video import FollowedArrays, Sought
from everymask.infer.predictor import Predictor
from everymask.models.card import Card


@dataclass(frozen=True, slots=True)
class MethodBackend:
    """A method, with the trees of a forest that has learned."""

    spec: Method
    forest: Forest | None = None

    @property
    def device(self) -> str:
        """The processor."""
        return "cpu"

    @property
    def most_pixels(self) -> int:
        """Each picture is looked at by itself, so that nothing is gained by more at once."""
        return 1

    @property
    def lanes(self) -> int:
        """One: OpenCV takes the threads that there are."""
        return 1

    def open_lanes(self) -> Executor:
        """A thread."""
        return ThreadPoolExecutor(1)

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """What the method finds, picture by picture, each without its padding."""
        spec = self.spec
        shown = [image[:, y1:y2, x1:x2] for image, (x1, y1, x2, y2) in zip(images, windows.tolist(), strict=True)]
        match spec:
            case PixelMethod():
                several = isinstance(spec, PixelForest) or spec.num_classes != 2
                logits = [pixel_logits(spec, picture, self.forest) for picture in shown]
                return SemanticArrays(_padded(logits, images), "multiclass" if several else "binary")
            case ObjectMethod():
                return FoundObjects(tuple(method_objects(spec, picture) for picture in shown), spec.max_detections)
            case _:
                assert_never(spec)

    def with_detections(self, most: int) -> MethodBackend:
        """The same method with up to `most` objects per picture; `ConfigError` where it finds none."""
        return replace(self, spec=self.spec.with_detections(most))

    def encode(self, image: FloatArray) -> EmbeddingArrays:
        """`ConfigError`: no method takes prompts."""
        raise ConfigError(f"{method_name(self.spec)} takes no prompts")

    def answer(self, seen: EmbeddingArrays, prompts: PromptArrays) -> MaskArrays:
        """As `encode`."""
        raise ConfigError(f"{method_name(self.spec)} takes no prompts")

    def follow(self, seen: EmbeddingArrays, sought: Sequence[Sought]) -> list[FollowedArrays]:
        """As `encode`."""
        raise ConfigError(f"{method_name(self.spec)} takes no prompts")


def _padded(found: list[FloatArray], images: FloatArray) -> FloatArray:
    """Logits [B, K, H, W] of pictures [K, h, w] that lie at the upper left of their frames."""
    logits = np.zeros((len(found), len(found[0]), *images.shape[2:]), np.float32)
    for row, each in zip(logits, found, strict=True):
        row[:, : each.shape[1], : each.shape[2]] = each
    return logits


def build_method(spec: Method) -> Predictor:
    """A method ready to predict, any picture of any kind; `ConfigError` for one that has to learn first."""
    if spec.learns:
        raise ConfigError(
            f"{method_name(spec)} has to learn from annotated pictures first",
            hint=f"everymask train DATA --model {method_name(spec)} --out runs/a, and then predict with runs/a",
        )
    return Predictor(MethodBackend(spec), Card(spec, labels_of_method(spec), fed(spec), source="a method, not trained"))
