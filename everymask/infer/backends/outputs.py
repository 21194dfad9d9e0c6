"""What a backend says of pictures, as arrays: compact, and not decoded yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.segmentation import SemanticMap


@dataclass(frozen=True, slots=True, eq=False)
class RegionArrays:
    """K detections of a whole batch, surest first within each picture.

    `boxes` [K, 4] float32 xyxy in the network's frame, `class_ids` [K] 0-based without background, `scores` [K] float32
    in 0-1, `mask_logits` [K, M, M] float32 of the detection's class relative to its box (None without mask head),
    `image_index` [K]: the picture's place in the batch. `cut` [B] float32 is the score of the surest detection that the
    network's limits may have cost each picture, else 0 (None: not known).
    """

    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray
    mask_logits: FloatArray | None
    image_index: IntArray
    cut: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SemanticArrays:
    """What every pixel is: `logits` [B, K, H, W] float32 at the size of the network's frame, padding included.

    With softmax over K classes, or a sigmoid per channel: one for foreground, or K independent ones. The axes may lie
    in memory in any order.
    """

    logits: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class DecidedMaps:
    """The label maps of a batch's pictures, each of its original size: what `decode_semantic` makes of the logits.

    K planes of floats are much to fetch from a device that could have told which is the largest.
    """

    maps: tuple[SemanticMap, ...]


Outputs: TypeAlias = RegionArrays | SemanticArrays | DecidedMaps
