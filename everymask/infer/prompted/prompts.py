"""What a user points at, checked, and as a network takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.geometry import Size
from everymask.core.masks import Masks
from everymask.data.feed.preprocess import Placement
from everymask.errors import ConfigError
from everymask.infer.decoding.prompted import PromptArrays

Numbers: TypeAlias = "Array | Sequence[Any]"
_CORNERS = (2, 3)
_SURE = 10.0
"""The logit of a pixel that a mask which is given shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """B prompts for one picture, in its pixels; each is for one object.

    `points` [B, N, 2] float64 xy, `labels` [B, N] int64 (1 on the object, 0 beside it), `boxes` [B, 4] float64 xyxy or
    None.
    """

    points: FloatArray
    labels: IntArray
    boxes: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def none(cls, count: int) -> Prompts:
        """For so many objects, of which only masks are known."""
        return cls(np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64))

    def with_more(self, points: FloatArray, labels: IntArray) -> Prompts:
        """The same with more points for each object."""
        return Prompts(
            np.concatenate([self.points, points], axis=1), np.concatenate([self.labels, labels], axis=1), self.boxes
        )

    def arrays(self, placement: Placement, masks: FloatArray | None, *, several: bool) -> PromptArrays:
        """As a network takes them, behind the way that the picture took; `masks` [B, h, w] are logits."""
        ratio = np.array(
            [new / old for new, old in zip(placement.resized[::-1], placement.original[::-1], strict=True)]
        )
        points, labels = self.points, self.labels
        if self.boxes is not None:
            points = np.concatenate([self.boxes.reshape(-1, 2, 2), points], axis=1)
            labels = np.concatenate([np.tile(np.array(_CORNERS), (len(labels), 1)), labels], axis=1)
        return PromptArrays((points * ratio).astype(np.float32), labels.astype(np.int64), masks, several)


def check_prompts(points: Numbers | None, labels: Numbers | None, boxes: Numbers | None, size: Size) -> Prompts | None:
    """The prompts that these are; None where there are neither points nor boxes.

    `points` are [2], [N, 2] or, for B objects, [B, N, 2]; `labels` have a number for each (None: all are on the
    object); `boxes` are [4] or [B, 4]. `ConfigError` for all that cannot be meant: other shapes and types, numbers that
    are not finite, what lies outside a picture of `size` (H, W), boxes that are reversed or empty, labels that are not
    0 or 1, and points and boxes of different numbers of objects.
    """
    found = None if boxes is None else _boxes(boxes, size)
    if points is None:
        if labels is not None:
            raise ConfigError("labels say what points are, but there are no points", hint="give points too")
        if found is None:
            return None
        return replace(Prompts.none(len(found)), boxes=found)
    places = _points(points, size)
    if found is not None and len(found) != len(places):
        raise ConfigError(
            f"there are points for {len(places)} and boxes for {len(found)} objects",
            hint="points [B, N, 2] and boxes [B, 4] belong together row by row",
        )
    return Prompts(places, _labels(labels, places), found)


def check_positive(prompts: Prompts) -> None:
    """`ConfigError` where points only say what an object is not."""
    if prompts.boxes is None:
        only = np.flatnonzero(~(prompts.labels == 1).any(axis=1))
        if only.size:
            which = "" if len(prompts) == 1 else f" of object {only[0]}"
            raise ConfigError(
                f"all points{which} are negative, so they say what it is not, and not what it is",
                hint="add a point with label 1, or a box",
            )


def mask_logits(mask: Any, count: int | None, placement: Placement, frame: Size | None, side: int) -> FloatArray:
    """Masks that are given as a network takes them: logits [count, side, side] float32; None: as many as there are.

    They are `Masks` or booleans [H, W] or [B, H, W] of the picture, or logits [side, side] or [B, side, side] float32
    of an earlier answer. `ConfigError` for anything else.
    """
    if isinstance(mask, Masks):
        given: Array = np.array([mask.to_dense(row) for row in range(len(mask))])
    else:
        given = np.asarray(mask)
    given = given[None] if given.ndim == 2 else given
    count = max(1, len(given)) if count is None and given.ndim else count or 1
    if given.dtype == np.bool_ and given.shape == (count, *placement.original):
        return np.stack([_small(each, placement, frame, side) for each in given])
    if given.dtype == np.float32 and given.shape == (count, side, side) and np.isfinite(given).all():
        return np.array(given)
    height, width = placement.original
    raise ConfigError(
        f"mask must be booleans [{count}, {height}, {width}] of the picture or finite logits [{count}, {side}, {side}] "
        f"float32 of an earlier answer, for each object one, but got {given.dtype} {list(given.shape)}"
    )


def _small(mask: BoolArray, placement: Placement, frame: Size | None, side: int) -> FloatArray:
    """A mask of the picture as logits [side, side] of the frame."""
    values = np.where(mask, np.float32(_SURE), np.float32(-_SURE))
    whole = np.full(frame or (side, side), -_SURE, np.float32)
    height, width = placement.resized if frame else (side, side)
    whole[:height, :width] = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _points(given: Numbers, size: Size) -> FloatArray:
    points = _numbers("points", given, "[N, 2] (x, y) in pixels, or [B, N, 2] for B objects")
    if points.shape[-1:] != (2,) or points.ndim > 3 or not points.size:
        raise ConfigError(
            f"points must be [N, 2] (x, y) in pixels, or [B, N, 2] for B objects, but got {list(points.shape)}"
        )
    points = points.reshape(1, -1, 2) if points.ndim < 3 else points
    height, width = size
    outside = ~((points >= 0) & (points < (width, height))).all(axis=-1)
    if outside.any():
        x, y = points[outside][0].tolist()
        swapped = 0 <= y < width and 0 <= x < height
        raise ConfigError(
            f"the point ({x:g}, {y:g}) lies outside the picture, which is {width} pixels wide and {height} high",
            hint="points are (x, y): this one seems to be (y, x)" if swapped else "",
        )
    return points


def _labels(given: Numbers | None, points: FloatArray) -> IntArray:
    shape = points.shape[:2]
    if given is None:
        return np.ones(shape, np.int64)
    labels = _numbers("labels", given, "a 1 (on the object) or 0 (beside it) for each point")
    labels = np.atleast_1d(labels)
    labels = labels[None] if labels.ndim == 1 else labels
    if labels.shape != shape:
        raise ConfigError(f"labels must be {list(shape)}, one for each point, but got {list(labels.shape)}")
    if not np.isin(labels, (0, 1)).all():
        wrong = labels[~np.isin(labels, (0, 1))][0]
        raise ConfigError(f"labels must be 1 (on the object) or 0 (beside it), but got {wrong:g}")
    return labels.astype(np.int64)


def _boxes(given: Numbers, size: Size) -> FloatArray:
    boxes = _numbers("boxes", given, "[B, 4] (x1, y1, x2, y2) in pixels")
    boxes = boxes[None] if boxes.ndim == 1 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise ConfigError(f"boxes must be [B, 4] (x1, y1, x2, y2) in pixels, but got {list(boxes.shape)}")
    height, width = size
    for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        said = f"box {row} ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
        if x2 <= x1 or y2 <= y1:
            kind = "empty" if x1 == x2 or y1 == y2 else "reversed"
            raise ConfigError(f"{said} is {kind}", hint="boxes are (x1, y1, x2, y2) with x1 < x2 and y1 < y2")
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            raise ConfigError(
                f"{said} reaches outside the picture, which is {width} pixels wide and {height} high",
                hint="cut it to the picture; boxes are (x1, y1, x2, y2), not with widths",
            )
    return boxes


def _numbers(name: str, given: Numbers, expected: str) -> FloatArray:
    """An array of finite numbers as float64."""
    try:
        found = np.asarray(given)
    except ValueError as error:
        raise ConfigError(f"{name} must be {expected}, but got rows of different lengths") from error
    if found.dtype.kind not in "biuf":
        raise ConfigError(f"{name} must be numbers: {expected}, but got {found.dtype}")
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise ConfigError(f"{name} must be finite numbers, but got {values[~np.isfinite(values)][0]}")
    return values
