"""All objects of a picture: a grid of points, of whose masks the sure and stable ones stay (Kirillov et al. 2023, B).

What the masks are is decided one by one, each on its own window of the picture, and kept as run-lengths until it is
known which of them say the same: memory grows with the objects, and not with the points.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.geometry import Size
from everymask.core.masks import Masks
from everymask.core.memory import room_for
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError
from everymask.infer.decoding.duplicates import without_duplicates
from everymask.infer.decoding.prompted import PromptArrays, measured_mask
from everymask.infer.prompted.looks import Looks
from everymask.infer.prompted.session import SMALLER, Seen, look_at
from everymask.infer.result import Result
from everymask.infer.running import Running

_AT_ONCE = 16
_USUAL_SCORE = {"segment-anything": 0.88, "sam2": 0.8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """Where points lie, and which of their masks stay; `ConfigError` for values that cannot be meant.

    Each of `points` x `points` points may mean three objects. A mask stays whose predicted IoU is above `min_score`
    (None: 0.88 for SAM, 0.8 for SAM 2, as their authors have it) and whose stability is at least `min_stability`: how
    much of what is above the logit -`offset` is also above `offset`. Of masks whose boxes overlap by more than `nms`
    the surest stays.
    """

    points: int = 32
    min_score: float | None = None
    min_stability: float = 0.95
    offset: float = 1.0
    nms: float = 0.7

    def __post_init__(self) -> None:
        if not 1 <= self.points <= 256:
            raise ConfigError(f"points must be 1 to 256 a side, but got {self.points}")
        for name in ("min_score", "min_stability", "nms"):
            value = getattr(self, name)
            if value is not None and not value <= 1:
                raise ConfigError(f"{name} must be at most 1, but got {value}")
        if not self.offset >= 0:
            raise ConfigError(f"offset must be at least 0, but got {self.offset}")


def find_everything(predictor: Running, sample: Sample, looks: Looks, wanted: Everything) -> Result:
    """All objects of a picture, surest first; errors as in `look_at`."""
    started = time.perf_counter()
    seen = look_at(predictor, sample, looks)
    least = wanted.min_score
    if least is None:
        least = _USUAL_SCORE[predictor.card.preprocess.resize.rule]
    with room_for(sample.file or sample.id, SMALLER):
        found = _Found([], [], [])
        grid = _grid(wanted.points, sample.size)
        for first in range(0, len(grid), _AT_ONCE):
            _ask(predictor, seen, grid[first : first + _AT_ONCE], least, wanted, found)
        instances = without_duplicates(found.without_repeats(wanted.nms, sample.size), predictor.duplicate_iou)
    return Result(sample, instances, predictor.card.labels, time.perf_counter() - started)


def _grid(side: int, size: Size) -> FloatArray:
    """Points [side ** 2, 2] xy in the middles of equal parts of a picture, row by row."""
    places = (np.arange(side) + 0.5) / side
    across, down = np.meshgrid(places * size[1], places * size[0])
    return np.stack([across.ravel(), down.ravel()], axis=1)


@dataclass(frozen=True, slots=True)
class _Found:
    """Masks as COCO's run-lengths, their windows xyxy, and the IoU that each probably has."""

    counts: list[bytes]
    windows: list[tuple[int, int, int, int]]
    scores: list[float]

    def without_repeats(self, iou: float, size: Size) -> InstanceSet:
        """The surest of those whose boxes overlap by more than `iou`."""
        scores = np.array(self.scores, np.float32)
        kept = keep_surest(np.array(self.windows, np.int64).reshape(-1, 4), scores, iou)
        masks = Masks.from_rle([self.counts[row] for row in kept], size)
        sure = np.clip(scores[kept], 0, 1)
        return InstanceSet(masks.boxes(), np.zeros(len(kept), np.int64), sure, masks)


def _ask(predictor: Running, seen: Seen, points: FloatArray, least: float, wanted: Everything, found: _Found) -> None:
    """Add what stays of the masks of some points."""
    resizing = seen.resizing
    ratio = np.array(resizing.placement.resized[::-1]) / np.array(resizing.placement.original[::-1])
    places = (points * ratio)[:, None].astype(np.float32)
    asked = PromptArrays(places, np.ones(places.shape[:2], np.int64), several=True, least=least)
    answer = predictor.backend.answer(seen.embedding, asked)
    for plane, score in zip(answer.logits, answer.scores.tolist(), strict=True):
        mask, window, stability = measured_mask(plane, resizing, wanted.offset)
        if stability < wanted.min_stability:
            continue
        whole = Masks.from_crops([mask], np.array([window[:2]]), resizing.placement.original)
        found.counts.extend(whole.to_rle())
        found.windows.append(tuple(whole.windows[0].tolist()))
        found.scores.append(score)


def keep_surest(windows: IntArray, scores: FloatArray, iou: float) -> IntArray:
    """The rows of windows [N, 4] xyxy that non-maximum suppression leaves, surest first.

    Boxes are compared as SAM's code has them: their corners are the middles of their first and last pixels.
    """
    boxes = windows.astype(np.float32) - np.array((0, 0, 1, 1), np.float32)
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept: list[int] = []
    while order.size:
        row, order = int(order[0]), order[1:]
        kept.append(row)
        low = np.maximum(boxes[row, :2], boxes[order, :2])
        high = np.minimum(boxes[row, 2:], boxes[order, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        with np.errstate(invalid="ignore"):  # 0 / 0 of two boxes without area, which do not overlap
            order = order[~(common / (areas[row] + areas[order] - common) > iou)]
    return np.array(kept, np.int64)
