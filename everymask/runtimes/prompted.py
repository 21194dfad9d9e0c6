"""A network that answers prompts as a backend: one graph looks at a picture once, another one answers.

The graph that looks takes `images` [1, C, side, side] float32 and gives `map_0`, `map_1` ... The one that answers takes
these, `points` [P, N, 2] float32 and `labels` [P, N] int64 (see `PromptArrays`; -1 is a point that means nothing),
`masks` [P, h, w] float32, and `given` [1] float32: 1 where the masks count, else 0. It gives `logits` [P, 4, h, w] and
`scores` [P, 4] of all masks, of which `chosen_masks` takes the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, PromptArrays, chosen_masks
from everymask.models.specs.prompted import SAM2, PromptedModelSpec, finds_nothing, is_not_limited
from everymask.runtimes.backend import INPUTS, MAPS, PROMPTS, Engine, OneLane

_UPSCALED = 4
_PLACES_AT_ONCE = 1 << 12  # of the picture, over all prompts side by side
_CORNERS, _PADDING = 2, -1


@dataclass(frozen=True, slots=True)
class PromptedBackend(OneLane):
    """The graphs of the network that `spec` describes; `digest` tells its looks at pictures from another's."""

    looking: Engine
    answering: Engine
    spec: PromptedModelSpec
    digest: str

    @property
    def device(self) -> str:
        """The runtime and its device."""
        return self.looking.name

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """It finds nothing unasked."""
        raise finds_nothing(self.spec)

    def with_detections(self, most: int) -> PromptedBackend:
        """No number limits what is pointed at."""
        raise is_not_limited(self.spec)

    def encode(self, image: FloatArray) -> EmbeddingArrays:
        """As the protocol says."""
        side = self.spec.side
        square = np.zeros((1, len(image), side, side), np.float32)
        square[0, :, : image.shape[1], : image.shape[2]] = image
        found = self.looking.calculate({INPUTS[0]: square})
        return EmbeddingArrays(tuple(found[name][0] for name in MAPS if name in found), self.digest)

    def answer(self, seen: EmbeddingArrays, prompts: PromptArrays) -> MaskArrays:
        """As the protocol says."""
        seen.check_seen_by(self.digest)
        points, labels = with_padding(prompts, always=isinstance(self.spec, SAM2))
        at_once = max(1, _PLACES_AT_ONCE // seen.maps[0][0].size)
        answers = []
        for first in range(0, len(points), at_once):
            part = slice(first, first + at_once)
            masks = None if prompts.masks is None else prompts.masks[part]
            logits, scores = self.all_masks(seen, points[part], labels[part], masks)
            found = chosen_masks(logits, scores, prompts, steadied=isinstance(self.spec, SAM2))
            answers.append((found.logits, found.scores, first + found.prompts))
        logits, scores, numbers = (np.concatenate(column) for column in zip(*answers, strict=True))
        return MaskArrays(logits, scores, numbers)

    def all_masks(
        self, seen: EmbeddingArrays, points: FloatArray, labels: IntArray, masks: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        """The logits [P, 4, h, w] of all masks of prompts, and their scores [P, 4]."""
        side = _UPSCALED * seen.maps[0].shape[-1]
        shown = np.zeros((len(points), side, side), np.float32) if masks is None else masks
        asked = dict(zip(PROMPTS, (points, labels, shown, np.array([masks is not None], np.float32)), strict=True))
        answer = self.answering.calculate(
            asked | {name: each[None] for name, each in zip(MAPS, seen.maps, strict=False)}
        )
        return answer["logits"], answer["scores"]


def with_padding(prompts: PromptArrays, *, always: bool) -> tuple[FloatArray, IntArray]:
    """Points and labels with the point that means nothing: SAM gives it to points without a box, SAM 2 `always`."""
    points, labels = prompts.points, prompts.labels
    if points.shape[1] and (always or not (labels >= _CORNERS).any()):
        points = np.concatenate([points, np.zeros((len(points), 1, 2), points.dtype)], axis=1)
        labels = np.concatenate([labels, np.full((len(labels), 1), _PADDING, labels.dtype)], axis=1)
    return points, labels
