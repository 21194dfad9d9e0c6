"""From logits per pixel to a label map of the picture; K planes at its size never exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, assert_never

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.segmentation import ChangeMap, SemanticMap
from everymask.data.feed.preprocess import Placement, Size
from everymask.infer.decoding.bilinear import Resizing, in_planes
from everymask.models.specs.semantic import Head

_PIXELS_AT_ONCE = 1 << 16  # a strip's planes stay in the processor's cache


def decode_semantic(
    logits: FloatArray,
    placement: Placement,
    head: Head,
    *,
    ignore: int,
    scored: bool = False,
    kind: type[SemanticMap] = SemanticMap,
) -> SemanticMap:
    """The class of every pixel of the original picture, uint8 [H, W] (int32 where ids or `ignore` need it).

    `logits` [K, h, w] cover the network's frame, padding included. They are brought to the picture's size bilinearly
    (half-pixel centres), some rows at a time, before any decision:

    - multiclass: the class with the largest logit; of equal ones the first
    - binary: 1 where the one logit is above 0 (a probability above one half), else 0
    - multilabel: the class with the largest logit among those above 0; `ignore` (`Labels.ignore`) where there is none

    - from-to (`ChangeMap`): where the first logit is above 0 the largest of those of what was, and of what is there,
      which are shares of the rest; 0 in both elsewhere

    A logit that is not a number is never the largest. With `scored` the map has the probabilities of the chosen classes
    too, [H, W] float32: by softmax over all classes, or of the two sides of one sigmoid (binary), or of the class's own
    (multilabel). `kind` is what the map says: classes, or what changed. Besides the result, memory is the logits of a
    strip of 65,536 pixels, or of one row that has more.
    """
    if head == "from-to":
        return from_to(logits, lambda part, of: decode_semantic(part, placement, of, ignore=ignore, scored=scored))
    left, top, right, bottom = placement.inside
    size = placement.original
    planes = logits[: 1 if head == "binary" else None, top:bottom, left:right]
    dtype = np.uint8 if max(len(planes), ignore) <= np.iinfo(np.uint8).max else np.int32
    ids: IntArray = np.empty(size, dtype)
    scores: FloatArray | None = np.empty(size, np.float32) if scored else None
    resizing = Resizing((planes.shape[1], planes.shape[2]), size)
    for first, last in resizing.strips(max(1, _PIXELS_AT_ONCE // size[1])):
        start, stop = resizing.sources(first, last)
        strip = (resizing.rows(plane, first, last, start) for plane in in_planes(planes[:, start:stop]))
        found, probable = _decided(strip, (last - first, size[1]), dtype, head, ignore, scored=scored)
        ids[first:last] = found
        if scores is not None:
            scores[first:last] = probable
    return kind(ids, scores, ignore)


def _decided(
    planes: Iterator[FloatArray],
    shape: Size,
    dtype: type[np.uint8 | np.int32],
    head: Head,
    ignore: int,
    *,
    scored: bool,
) -> tuple[Array, FloatArray | None]:
    """Class ids [n, W] by logits of `planes`, each of `shape` [n, W], and how probable they are where `scored`."""
    match head:
        case "binary":
            logit = next(planes)
            return logit > 0, np.nan_to_num(_sigmoid(np.abs(logit)), nan=0.5) if scored else None
        case "multilabel":
            number, best, _ = _largest(planes, shape, dtype, 0.0)
            chosen = number > 0
            return np.where(chosen, number - 1, ignore), np.where(chosen, _sigmoid(best), 0) if scored else None
        case "multiclass":
            number, _, total = _largest(planes, shape, dtype, -np.inf, total=scored)
            return number - (number > 0), None if total is None else 1 / total
        case "from-to":
            raise AssertionError("its parts are decided one by one")
    assert_never(head)


def from_to(logits: Any, decode: Callable[[Any, Head], SemanticMap]) -> ChangeMap:
    """What became of what, by logits [2 K - 1, h, w] of the change, of what was and of what is there.

    `decode` makes a label map of some of them, by their head; they may lie on any device. A score is the probability
    that what is said of the later date is so.
    """
    middle = (1 + len(logits)) // 2
    change, was, now = (
        decode(logits[:1], "binary"), decode(logits[1:middle], "multiclass"), decode(logits[middle:], "multiclass"),
    )  # fmt: skip
    ids, before = (np.where(change.ids == 1, one.ids + 1, 0).astype(one.ids.dtype) for one in (now, was))
    scores = change.scores
    if scores is not None and now.scores is not None:
        scores = np.where(change.ids == 1, scores * now.scores, scores)
    return ChangeMap(ids, scores, change.ignore, before)


def _largest(
    planes: Iterator[FloatArray], shape: Size, dtype: type[np.uint8 | np.int32], least: float, *, total: bool = False
) -> tuple[IntArray, FloatArray, FloatArray | None]:
    """Which of the planes, each of `shape` [n, W], is the largest at each pixel if it exceeds `least`.

    1 stands for the first, 0 for none. Besides, its value, else `least`; and with `total` the sum over all planes
    of exp(plane - largest).
    """
    best = np.full(shape, least, np.float32)
    numbers = np.zeros(shape, dtype)
    sums = np.zeros(shape, np.float32) if total else None
    for number, plane in enumerate(planes, start=1):
        if sums is not None:
            known = np.where(np.isnan(plane), -np.inf, plane)
            largest = np.maximum(best, known)
            sums *= _ratio(best, largest)
            sums += _ratio(known, largest)
        # Numbers rise, so the last plane that exceeded all before it has the largest.
        np.maximum(numbers, np.multiply(plane > best, number, dtype=dtype), out=numbers)
        np.fmax(best, plane, out=best)
    return numbers, best, sums


def _ratio(plane: FloatArray, largest: FloatArray) -> FloatArray:
    """exp(plane - largest); 1 where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        difference = plane - largest
    ratio: FloatArray = np.exp(np.nan_to_num(difference, copy=False, nan=0.0), out=difference)
    return ratio


def _sigmoid(logits: FloatArray) -> FloatArray:
    """Of logits that are not negative or not numbers."""
    probability: FloatArray = 1 / (1 + np.exp(-logits))
    return probability
