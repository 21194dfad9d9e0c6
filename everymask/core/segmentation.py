"""What a picture contains: one type for truth and prediction of each task."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.geometry import Warp, nearest
from everymask.core.masks import Masks


@dataclass(frozen=True, slots=True)
class SemanticMap:
    """`ids`: class id of every pixel, [H, W] or [D, H, W].

    `scores`: the probability of that class, float32 in 0-1 of the same shape, 0 where there is no class. None for truth
    and where it was not asked for.
    """

    ids: IntArray
    scores: FloatArray | None = None

    def warped(self, warp: Warp, ignore: int = 255) -> SemanticMap:
        """The map of the warped picture; each pixel is the nearest, and `ignore` where the picture is not."""
        scores = None if self.scores is None else _each(self.scores, warp, 0)
        return SemanticMap(_each(self.ids, warp, ignore), scores)


@dataclass(frozen=True, slots=True)
class InstanceSet:
    """N objects of one picture; they may overlap.

    `boxes` [N, 4] are float32 xyxy in pixels of the picture (x2, y2 exclusive), `class_ids` [N] int64, `scores` [N]
    float32 in 0-1 (None for truth), `masks` N binary masks (None for boxes only), `ids` [N] the objects' own
    numbers, `crowd` [N] True where the annotation stands for a group (never trained on, not counted as a miss).

    Index with an int, a slice, integers or booleans to choose objects: `found[found.scores > 0.8]`.
    """

    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray | None = None
    masks: Masks | None = None
    ids: IntArray | None = None
    crowd: BoolArray | None = None

    def __post_init__(self) -> None:
        count = len(self.class_ids)
        if self.boxes.shape != (count, 4):
            raise ValueError(f"boxes must be [{count}, 4] like class_ids [{count}], but got {list(self.boxes.shape)}")
        for name in ("scores", "masks", "ids", "crowd"):
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"{name} must have {count} rows like class_ids, but got {len(column)}")

    def __len__(self) -> int:
        return len(self.class_ids)

    def __getitem__(self, which: int | slice | Array | list[int]) -> InstanceSet:
        rows = np.atleast_1d(np.arange(len(self))[which])
        chosen: dict[str, Any] = {
            column.name: None if getattr(self, column.name) is None else getattr(self, column.name)[rows]
            for column in fields(self)
        }
        return InstanceSet(**chosen)

    def warped(self, warp: Warp) -> InstanceSet:
        """The objects of the warped picture, one for each: boxes are moved and clipped, masks as `Masks.warped`.

        The box of a rotated object is the extent of its rotated box. What is no longer in the picture keeps its row,
        with an empty mask and a box without area.
        """
        boxes = np.clip(warp.boxes(self.boxes), 0, np.array(warp.size[::-1] * 2)).astype(np.float32)
        return replace(self, boxes=boxes, masks=None if self.masks is None else self.masks.warped(warp))

    @classmethod
    def empty(cls, size: tuple[int, int], *, scored: bool = False) -> InstanceSet:
        """No objects in a picture of `size` (H, W)."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            class_ids=np.zeros(0, np.int64),
            scores=np.zeros(0, np.float32) if scored else None,
            masks=Masks.empty(size),
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """One row of a panoptic map's table."""

    id: int
    class_id: int
    score: float | None = None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class PanopticMap:
    """`ids`: segment id of every pixel (0: none), and what each segment is."""

    ids: IntArray
    segments: tuple[Segment, ...] = field(default=())

    def warped(self, warp: Warp) -> PanopticMap:
        """The map of the warped picture; each pixel is the nearest, and 0 where the picture is not.

        Segments of which nothing is left have no row in the table.
        """
        ids = nearest(self.ids, warp, 0)
        left = set(np.unique(ids).tolist())
        return PanopticMap(ids, tuple(segment for segment in self.segments if segment.id in left))


Segmentation: TypeAlias = SemanticMap | InstanceSet | PanopticMap
Task: TypeAlias = Literal["semantic", "instance"]
"""What truth is to say: of every pixel its class, or objects one by one."""


def _each(array: Array, warp: Warp, fill: float) -> Array:
    """An array [H, W], or each plane of [D, H, W], after a warp."""
    if array.ndim == 2:
        return nearest(array, warp, fill)
    return np.stack([nearest(plane, warp, fill) for plane in array])
