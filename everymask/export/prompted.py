"""Networks that answer prompts as two graphs: one looks at a picture once, the other answers prompts for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError, printable
from everymask.export.check import Apart, Given, apart
from everymask.export.graph import Traced, quiet
from everymask.models.base import Embedding, Network
from everymask.models.inference import folded
from everymask.models.specs.prompted import PromptedModelSpec
from everymask.runtimes.backend import INPUTS, MAPS, PROMPTS
from everymask.runtimes.prompted import PromptedBackend

_OUTPUTS = ("logits", "scores")
Asked = tuple[FloatArray, IntArray, bool]
"""Points, labels, and whether the first of the masks that were answered before is shown."""


class _Looking(nn.Module):
    """A picture to what the network has seen of it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.network.embed(images).maps


class _Answering(nn.Module):
    """What the network has seen, and prompts, to masks."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, points: Tensor, labels: Tensor, masks: Tensor, given: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.network.all_masks(Embedding(maps), points, labels, masks, given)


def trace_both(network: Network) -> tuple[Traced, Traced]:
    """The graph that looks at one picture of the network's square, and the one that answers any number of prompts of
    any number of points; in float32, norms folded. `ConfigError` where the network cannot be traced.
    """
    ready, spec = folded(network), cast("PromptedModelSpec", network.spec)
    images = torch.zeros(1, spec.channels, spec.side, spec.side)
    maps = ready.embed(images).maps
    side = 4 * maps[0].shape[-1]
    asked = (torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.int64), torch.zeros(2, side, side), torch.zeros(1))
    prompts, points = Dim("prompts", min=1), Dim("points", min=1)
    shapes: Any = ({0: prompts, 1: points}, {0: prompts, 1: points}, {0: prompts}, {}, tuple({} for _ in maps))
    try:
        with quiet():
            looking = torch.export.export(_Looking(ready), (images,), strict=False)
            answering = torch.export.export(_Answering(ready), (*asked, *maps), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever PyTorch finds in the way
        raise ConfigError(
            f"{type(spec).__name__} with the encoder {spec.encoder} cannot be traced: {printable(error)}",
            hint="choose another encoder; everymask export --list shows what is known to go",
        ) from error
    names = MAPS[: len(maps)]
    return (
        Traced(looking, INPUTS[:1], names, one_by_one=True),
        Traced(answering, (*PROMPTS, *names), _OUTPUTS, one_by_one=True),
    )


def prompts_for(side: int) -> Iterator[Asked]:
    """Prompts of all kinds for a square of `side` pixels: points, boxes with a point, a point with an earlier mask."""
    middle, far = side / 2, 0.8 * side
    yield np.array([[[middle, middle], [far, far]]], np.float32), np.array([[1, 0]]), False
    box = [[0.1 * side, 0.2 * side], [far, middle], [middle, middle]]
    yield np.array([box, box[::-1]], np.float32), np.array([[2, 3, 1], [1, 2, 3]]), False
    yield np.array([[[middle, 0.3 * side]]], np.float32), np.array([[1]]), True


def compare_answers(network: Network, backend: PromptedBackend, inputs: Iterable[Given]) -> tuple[Apart, int]:
    """How far the graphs and their network lie apart at most, in what they see and in what they answer, and for how
    many pictures that was looked at. Each answers of what it has seen itself.
    """
    worst, count = Apart(0.0, ""), 0
    for images, _ in inputs:
        found = max(_of_picture(network, backend, images), key=lambda one: one.difference)
        worst, count = max(worst, found, key=lambda one: one.difference), count + 1
    return worst, count


def _of_picture(network: Network, backend: PromptedBackend, images: FloatArray) -> Iterator[Apart]:
    seen = backend.encode(images[0])
    with torch.inference_mode():
        own = network.embed(torch.from_numpy(images))
    yield apart(_named(own.maps), dict(zip(MAPS, (each[None] for each in seen.maps), strict=False)))
    before: FloatArray | None = None
    for points, labels, again in prompts_for(backend.spec.side):
        masks = before if again else None
        shown = np.zeros((len(points), *_square(seen.maps[0])), np.float32) if masks is None else masks
        given = np.array([masks is not None], np.float32)
        with torch.inference_mode():
            asked = map(torch.from_numpy, (points, labels, shown, given))
            logits, scores = network.all_masks(own, *asked)
        answer = dict(zip(_OUTPUTS, backend.all_masks(seen, points, labels, masks), strict=True))
        yield apart({"logits": logits.numpy(), "scores": scores.numpy()}, answer)
        before = logits[:1, 0].numpy()


def _square(plane: FloatArray) -> tuple[int, int]:
    return 4 * plane.shape[-2], 4 * plane.shape[-1]


def _named(maps: tuple[Tensor, ...]) -> dict[str, FloatArray]:
    return {name: each.numpy() for name, each in zip(MAPS, maps, strict=False)}
