"""What a backend says of pictures, as arrays: compact, and not decoded yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.segmentation import InstanceSet, PanopticMap, Segmentation, SemanticMap
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.duplicates import without_duplicates
from everymask.infer.decoding.instances import decode_instances
from everymask.infer.decoding.panoptic import merge_panoptic
from everymask.infer.decoding.queries import merge_queries, query_objects
from everymask.infer.decoding.semantic import decode_semantic
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.queries import QueryModelSpec
from everymask.models.specs.regions import MaskPaste
from everymask.models.specs.semantic import Head


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a batch: the pictures' placements, and how they are decoded.

    `ignore` stands for no class in label maps, and `scored` asks how probable their classes are; of objects that
    overlap by more than `duplicate_iou` only the surest is given. Of a `part` of a picture nothing is left out for
    being small: it may go on in the next part.
    """

    placements: tuple[Placement, ...]
    ignore: int
    scored: bool = False
    duplicate_iou: float = 1.0
    part: bool = False


class Outputs(Protocol):
    """What a network says of a batch."""

    def segmentation(self, index: int, wanted: Wanted) -> Segmentation:
        """What picture `index` of the batch shows, at its original size."""

    def cut_below(self, index: int) -> float | None:
        """From which score on detections of a picture may be missing by the network's limits; None: none is."""

    def planes(self) -> SemanticArrays:
        """The answers where every pixel has one, before they are decided; `TypeError` where there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class RegionArrays:
    """K detections of a whole batch, surest first within each picture.

    `boxes` [K, 4] float32 xyxy in the network's frame, `class_ids` [K] 0-based without background, `scores` [K] float32
    in 0-1, `mask_logits` [K, M, M] float32 of the detection's class relative to its box (None without mask head),
    `image_index` [K]: the picture's place in the batch; `paste` is how mask logits become pixels. `cut` [B] float32 is
    the score of the surest detection that the network's limits may have cost each picture, else 0 (None: not known).
    """

    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray
    mask_logits: FloatArray | None
    image_index: IntArray
    paste: MaskPaste
    cut: FloatArray | None = None

    def segmentation(self, index: int, wanted: Wanted) -> InstanceSet:
        """The objects of a picture."""
        rows = self.image_index == index
        masks = None if self.mask_logits is None else self.mask_logits[rows]
        found = decode_instances(
            self.boxes[rows], self.class_ids[rows], self.scores[rows], masks, wanted.placements[index], self.paste
        )
        return without_duplicates(found, wanted.duplicate_iou)

    def cut_below(self, index: int) -> float | None:
        """The score of the surest detection that a limit may have cost."""
        return None if self.cut is None or self.cut[index] <= 0 else float(self.cut[index])

    def planes(self) -> SemanticArrays:
        """There are none."""
        raise TypeError("a network that finds objects has no answer for every pixel")


@dataclass(frozen=True, slots=True, eq=False)
class SemanticArrays:
    """What every pixel is: `logits` [B, K, H, W] float32 at the size of the network's frame, padding included.

    `head` says what they are to a pixel: softmax over K classes, or a sigmoid per channel: one for foreground, or K
    independent ones. The axes may lie in memory in any order. `kind` is what they become: a label map, or what changed.
    """

    logits: FloatArray
    head: Head
    kind: type[SemanticMap] = SemanticMap

    def segmentation(self, index: int, wanted: Wanted) -> SemanticMap:
        """The label map of a picture."""
        placement, ignore = wanted.placements[index], wanted.ignore
        logits = self.logits[index]
        return decode_semantic(logits, placement, self.head, ignore=ignore, scored=wanted.scored, kind=self.kind)

    def cut_below(self, index: int) -> None:
        """No limit cuts label maps."""

    def planes(self) -> SemanticArrays:
        """These."""
        return self


@dataclass(frozen=True, slots=True, eq=False)
class DecidedMaps:
    """The label maps of a batch's pictures, each of its original size: what `decode_semantic` makes of the logits.

    K planes of floats are much to fetch from a device that could have told which is the largest.
    """

    maps: tuple[SemanticMap, ...]

    def segmentation(self, index: int, wanted: Wanted) -> SemanticMap:
        """The label map of a picture."""
        return self.maps[index]

    def cut_below(self, index: int) -> None:
        """No limit cuts label maps."""

    def planes(self) -> SemanticArrays:
        """They have been left on the device."""
        raise TypeError("these label maps are decided already")


@dataclass(frozen=True, slots=True, eq=False)
class PanopticArrays:
    """Things one by one, and which stuff every pixel is, counted from 1, or 0 for a thing.

    The class ids of `regions` are places among `spec.things`; `spec` says how the two become one map.
    """

    regions: RegionArrays
    classes: SemanticArrays | DecidedMaps
    spec: PanopticFPN

    def segmentation(self, index: int, wanted: Wanted) -> PanopticMap:
        """The panoptic map of a picture."""
        spec = replace(self.spec, stuff_area=0) if wanted.part else self.spec
        return merge_panoptic(self.regions.segmentation(index, wanted), self.classes.segmentation(index, wanted), spec)

    def cut_below(self, index: int) -> float | None:
        """The score of the surest thing that a limit may have cost, where it would have been shown."""
        score = self.regions.cut_below(index)
        return None if score is None or score < self.spec.min_score else score

    def planes(self) -> SemanticArrays:
        """There are none that say all."""
        raise TypeError("a network that finds things has no answer for every pixel")


@dataclass(frozen=True, slots=True, eq=False)
class QueryArrays:
    """What each of Q queries says: `classes` [B, Q, 1 + K] float32 logits, the first of which is none, and `masks`
    [B, Q, h, w] float32 logits at a quarter of the network's frame. `spec` says what they become.
    """

    classes: FloatArray
    masks: FloatArray
    spec: QueryModelSpec

    def segmentation(self, index: int, wanted: Wanted) -> PanopticMap | InstanceSet:
        """The panoptic map of a picture, or its objects."""
        classes, masks, placement = self.classes[index], self.masks[index], wanted.placements[index]
        if self.spec.purpose.limited:
            found = query_objects(classes, masks, placement, self.spec.max_detections)
            return without_duplicates(found, wanted.duplicate_iou)
        return merge_queries(classes, masks, placement, self.spec)

    def cut_below(self, index: int) -> None:
        """Not known: a query has many classes, of which most mean nothing."""

    def planes(self) -> SemanticArrays:
        """There are none that say all."""
        raise TypeError("a network of queries has no answer for every pixel")
