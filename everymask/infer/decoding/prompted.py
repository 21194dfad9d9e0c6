"""From the small logits of a mask to its pixels: on the mask's own window, a strip at a time, never a whole plane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.geometry import Size
from everymask.core.masks import Masks
from everymask.data.feed.preprocess import Placement
from everymask.errors import WeightsError
from everymask.infer.decoding.bilinear import Resizing
from everymask.models.specs.prompted import AROUND_ZERO, STABLE

_PIXELS_AT_ONCE = 1 << 18
Window = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingArrays:
    """What a network has seen of one picture: `maps`, each [C, h, w] float32, and which `network` it was, a digest."""

    maps: tuple[FloatArray, ...]
    network: str

    @property
    def nbytes(self) -> int:
        """Its size in memory."""
        return sum(each.nbytes for each in self.maps)

    def check_seen_by(self, network: str) -> None:
        """`WeightsError` where it is another network's than that of the digest."""
        if self.network != network:
            raise WeightsError("another network has seen this picture", hint="encode it again with this one")


@dataclass(frozen=True, slots=True, eq=False)
class PromptArrays:
    """P prompts for one picture, in pixels of the network's frame.

    `points` [P, N, 2] float32 xy, `labels` [P, N] int64: 1 on the object, 0 beside it, 2 and 3 the corners of a box, -1
    nothing. `masks` [P, h, w] float32 are logits of an earlier answer (None: there are none). With `several` an answer
    is up to three masks, those whose score is above `least`; else it is one.
    """

    points: FloatArray
    labels: IntArray
    masks: FloatArray | None = None
    several: bool = False
    least: float = -np.inf


@dataclass(frozen=True, slots=True, eq=False)
class MaskArrays:
    """K masks: `logits` [K, h, w] float32 of the network's frame, `scores` [K] float32: the IoU that each probably has,
    `prompts` [K] int64: the prompt that each answers, in their order.
    """

    logits: FloatArray
    scores: FloatArray
    prompts: IntArray


def chosen_masks(logits: FloatArray, scores: FloatArray, prompts: PromptArrays, *, steadied: bool) -> MaskArrays:
    """Of all masks [P, 4, h, w] that a decoder has for prompts, and of their scores [P, 4], those that are the answer.

    One answer alone is the first; several are those of the others that are good enough. With `steadied`, as SAM 2 does,
    the best of the others takes the place of a first that changes much with the threshold.
    """
    if prompts.several:
        chosen = scores > prompts.least
        chosen[:, 0] = False
    else:
        shaky = (_stability(logits[:, 0]) < STABLE) & steadied
        chosen = np.eye(logits.shape[1], dtype=np.bool_)[np.where(shaky, scores[:, 1:].argmax(axis=1) + 1, 0)]
    return MaskArrays(logits[chosen], scores[chosen], chosen.nonzero()[0])


def _stability(logits: FloatArray) -> FloatArray:
    """How little masks [K, h, w] change with the threshold, [K]: 1 not at all, and where there is none."""
    sure, possible = (np.count_nonzero(logits > threshold, axis=(1, 2)) for threshold in (AROUND_ZERO, -AROUND_ZERO))
    return np.where(possible > 0, sure / np.maximum(possible, 1), 1.0)


@dataclass(frozen=True, slots=True)
class MaskResizing:
    """How logits of `logits` (h, w) become masks of a picture: the whole way that `placement` says, in two steps.

    The first leads to the network's frame of `frame` (H, W), from which padding is cut off; without one (None) there is
    but one step. Both are bilinear with half-pixel centres, as SAM's and SAM 2's own code has them.
    """

    logits: Size
    placement: Placement
    frame: Size | None

    def window(self, plane: FloatArray, threshold: float) -> Window:
        """A part xyxy of the picture that holds all that is above the threshold; (0, 0, 0, 0) where nothing can be."""
        found = plane > threshold
        sides = []
        for axis in (0, 1):
            lines = np.flatnonzero(found.any(axis=axis))
            if not lines.size:
                return 0, 0, 0, 0
            sides.append(self._reach(int(lines[0]), int(lines[-1]) + 1, 1 - axis))
        (x1, x2), (y1, y2) = sides
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else (0, 0, 0, 0)

    def strips(self, plane: FloatArray, window: Window) -> Iterator[tuple[int, FloatArray]]:
        """The picture's logits inside a window: the first row of each strip, and the strip [n, x2 - x1]."""
        x1, y1, x2, y2 = window
        step = max(1, _PIXELS_AT_ONCE // max(1, x2 - x1))
        seen = self._framed(plane)
        resizing = Resizing((seen.shape[0], seen.shape[1]), self.placement.original).columns(x1, x2)
        for first in range(y1, y2, step):
            last = min(first + step, y2)
            yield first, resizing.rows(seen, first, last)

    def _framed(self, plane: FloatArray) -> FloatArray:
        """The logits of what is picture in the frame; without a frame they are as they came."""
        if self.frame is None:
            return plane
        left, top, right, bottom = self.placement.inside
        whole = cv2.resize(np.ascontiguousarray(plane, np.float32), self.frame[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole, np.float32)[top:bottom, left:right]

    def _reach(self, low: int, high: int, axis: int) -> tuple[int, int]:
        """Which pixels along an axis read the logits `low` to `high` (exclusive)."""
        before, after = self.logits[axis], self.placement.original[axis]
        bounds = [(low - 1, high + 1)]
        if self.frame is not None:
            share = self.frame[axis] / before
            start, stop = bounds[-1]
            before, offset = self.placement.resized[axis], self.placement.offset[axis]
            bounds.append((int(np.floor(start * share)) - 1 - offset, int(np.ceil(stop * share)) + 1 - offset))
        start, stop = bounds[-1]
        share = after / before
        return max(0, int(np.floor(start * share)) - 1), min(after, int(np.ceil(stop * share)) + 1)


def measured_mask(plane: FloatArray, resizing: MaskResizing, offset: float) -> tuple[BoolArray, Window, float]:
    """What is above 0 in the picture, inside a window of it; the window; and how stable that is, in 0-1.

    Stable is a mask of which as much is above `offset` as is above -`offset` (Kirillov et al. 2023, appendix B).
    """
    window = resizing.window(plane, -offset)
    x1, y1, x2, y2 = window
    mask = np.zeros((y2 - y1, x2 - x1), np.bool_)
    sure = possible = 0
    if mask.size:
        for first, strip in resizing.strips(plane, window):
            np.greater(strip, 0, out=mask[first - y1 : first - y1 + len(strip)])
            sure += int(np.count_nonzero(strip > offset))
            possible += int(np.count_nonzero(strip > -offset))
    return mask, window, sure / possible if possible else 0.0


def decode_masks(logits: FloatArray, resizing: MaskResizing) -> Masks:
    """The masks of the picture that logits [K, h, w] are: what is above 0."""
    found = [measured_mask(plane, resizing, 0.0) for plane in logits]
    corners = np.array([window[:2] for _, window, _ in found], np.int64).reshape(-1, 2)
    return Masks.from_crops([mask for mask, _, _ in found], corners, resizing.placement.original)
