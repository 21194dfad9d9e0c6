"""What a network makes of one picture on the way to its answer, as arrays to be looked at. Boxes are xyxy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from everymask.core.arrays import FloatArray, IntArray
from everymask.models.specs.semantic import Head

_MOST_MAPS = 12


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """What a part of the network gives: `values` [C, h, w] float32, a pixel for about `stride` of the frame's."""

    name: str
    stride: int
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class AnchorLevel:
    """The N anchors of a level of the pyramid, which has a map of `size` (h, w).

    `boxes` [N, 4] in pixels of the network's frame, `objectness` [N] in 0-1. `matches` [N] tell what a training would
    take them for: the row of a truth, -1 background, -2 neither (None: the truth is not known).
    """

    stride: int
    size: tuple[int, int]
    boxes: FloatArray
    objectness: FloatArray
    matches: IntArray | None


@dataclass(frozen=True, slots=True, eq=False)
class AnchorSteps:
    """From anchors to proposals.

    The M strongest anchors, moved: `boxes` [M, 4], `scores` [M] in 0-1, `levels` [M] of the pyramid. `kept` [P] are the
    rows of those that no surer one suppresses, surest first: the proposals.
    """

    pyramid: tuple[AnchorLevel, ...]
    boxes: FloatArray
    scores: FloatArray
    levels: IntArray
    kept: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class RegionSteps:
    """From proposals to D detections, surest first.

    `proposals` [P, 4] have `class_scores` [P, 1 + K] (row 0: background) and are `moved` [P, 1 + K, 4] as each class
    would have it. A detection has its box in `boxes` [D, 4], `class_ids` [D] without background, `scores` [D], the
    proposal in `rows` [D] that it is made of, the level of the pyramid in `levels` [D] that it is cut out of, and
    `masks` [D, M, M] in 0-1 relative to its box (None: there is no mask head).

    `classes` [K] are the classes of the network by their places among all.

    With a truth, `truth` [T, 4] are its boxes, `matches` [D] the one that a detection overlaps most, by at least one
    half, else -1, and `targets` [D, M, M] what the mask should be there, 0 where it matches none (None without masks).
    """

    proposals: FloatArray
    class_scores: FloatArray
    moved: FloatArray
    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray
    rows: IntArray
    levels: IntArray
    masks: FloatArray | None
    classes: tuple[int, ...]
    truth: FloatArray | None = None
    matches: IntArray | None = None
    targets: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PixelSteps:
    """What every pixel of the frame is: `logits` and `scores` [K, H, W], and `entropy` [H, W] in 0-1.

    `classes` [K] are the classes that they stand for, -1 for all things together; of a binary head K is 1. Entropy is 0
    where one answer is certain and 1 where all are as probable; of independent classes it is that of the least certain.
    """

    logits: FloatArray
    scores: FloatArray
    entropy: FloatArray
    head: Head
    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class QuerySteps:
    """What Q queries say: `classes` [Q, 1 + K] in 0-1 (row 0: none), and `masks` [Q, h, w] in 0-1, of a quarter of the
    frame that the network fills up.
    """

    classes: FloatArray
    masks: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What becomes of one picture; a network has some of these parts."""

    maps: tuple[FeatureMap, ...]
    anchors: AnchorSteps | None = None
    regions: RegionSteps | None = None
    pixels: PixelSteps | None = None
    queries: QuerySteps | None = None


def array(tensor: Tensor) -> FloatArray:
    """The numbers as float32."""
    values: FloatArray = tensor.detach().float().cpu().numpy()
    return values


def numbers(tensor: Tensor) -> IntArray:
    """The whole numbers as they are."""
    values: IntArray = tensor.detach().cpu().numpy()
    return values


def pixel_steps(logits: Tensor, head: Head, classes: tuple[int, ...] | None = None) -> PixelSteps:
    """The steps of logits [K, H, W] of `classes`; None: of all, or of foreground."""
    if head == "multiclass":
        scores = logits.softmax(dim=0)
        certain = torch.tensor(float(max(2, len(logits)))).log()
        entropy = torch.special.entr(scores).sum(dim=0) / certain
    else:
        scores = logits.sigmoid()
        entropy = (torch.special.entr(scores) + torch.special.entr(1 - scores)).amax(dim=0) / torch.tensor(2.0).log()
    shown = ((1,) if head == "binary" else tuple(range(len(logits)))) if classes is None else classes
    return PixelSteps(array(logits), array(scores), array(entropy.clamp(0, 1)), head, shown)


def feature_map(name: str, plane: Tensor, frame: tuple[int, int]) -> FeatureMap:
    """A map [1, C, h, w] of a picture whose frame is (H, W)."""
    return FeatureMap(name, max(1, round(frame[0] / plane.shape[2])), array(plane[0]))


@contextmanager
def taking_maps(module: nn.Module, frame: tuple[int, int]) -> Iterator[list[FeatureMap]]:
    """Within the block, the maps that the parts of a network give for one picture of a frame (H, W), in their order, up
    to 12. What a part gives when it is asked again says so in its name.
    """
    found: list[FeatureMap] = []
    asked: Counter[str] = Counter()

    def take(name: str, given: object, *, channels_last: bool) -> None:
        asked[name] += 1
        several = given if isinstance(given, list | tuple) else (given,)
        planes = [plane for plane in several if isinstance(plane, Tensor) and plane.ndim == 4]
        for number, plane in enumerate(planes, start=1):
            shown = plane.permute(0, 3, 1, 2) if channels_last else plane
            called = f"{name} {number}" if len(planes) > 1 else name
            called += f", call {asked[name]}" if asked[name] > 1 else ""
            if len(found) < _MOST_MAPS and min(shown.shape[2:]) > 1:
                found.append(feature_map(called, shown, frame))

    def hooked(name: str, child: nn.Module) -> RemovableHandle:
        channels_last = str(getattr(getattr(child, "output_fmt", None), "value", "")) == "NHWC"
        return child.register_forward_hook(lambda _, __, given: take(name, given, channels_last=channels_last))

    hooks = [hooked(name, child) for name, child in module.named_children()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
