"""What calculates a network: torch today, and whatever else can run one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

from everymask.core.arrays import FloatArray, IntArray
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.infer.decoding.prompted import EmbeddingArrays, MaskArrays, PromptArrays
from everymask.infer.decoding.video import FollowedArrays, Sought
from everymask.models.specs.any_spec import AnySpec


class Backend(Protocol):
    """A network that is ready to run. It has no state that a run changes: threads may share it."""

    @property
    def spec(self) -> AnySpec:
        """The network's or method's, with the limits that it keeps to."""

    @property
    def device(self) -> str:
        """Where it calculates, in a word."""

    @property
    def most_pixels(self) -> int:
        """How many pixels a batch should have: more cost memory and gain no time."""

    @property
    def lanes(self) -> int:
        """How many small batches side by side are calculated fastest."""

    def open_lanes(self) -> Executor:
        """That many threads for `run`, which share the processor between them; who asked shuts them down."""

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """What the network says of pictures.

        `images` [B, C, H, W] float32 are normalised, H and W multiples of the preprocessing's divisor; `windows` [B, 4]
        xyxy say where the pictures lie without their padding. Where `wanted` tells what the logits are for, a backend
        may answer with `DecidedMaps` in place of `SemanticArrays`, if its device decides faster than the logits can be
        fetched; without it never.
        """

    def with_detections(self, most: int) -> Backend:
        """The same network with up to `most` objects per picture; `ConfigError` where it finds none or is fixed."""

    def encode(self, image: FloatArray) -> EmbeddingArrays:
        """The network's look at one normalised picture [C, h, w]; `ConfigError` where it takes no prompts."""

    def answer(self, seen: EmbeddingArrays, prompts: PromptArrays) -> MaskArrays:
        """The masks that prompts ask for in a picture that `encode` has seen; `WeightsError` where another network's
        `encode` did.
        """

    def follow(self, seen: EmbeddingArrays, sought: Sequence[Sought]) -> list[FollowedArrays]:
        """Objects in a frame of a video that `encode` has seen, each by what is recalled of it and asked; errors as in
        `answer`, and `ConfigError` where the network remembers nothing.
        """
