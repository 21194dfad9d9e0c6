"""From logits per pixel to a label map of the picture; K planes at its size never exist."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.segmentation import SemanticMap
from everymask.data.feed.preprocess import Placement
from everymask.models.specs.semantic import Head

_BYTES_AT_ONCE = 1 << 26


def decode_semantic(
    logits: Tensor, placement: Placement, head: Head, *, ignore: int, scored: bool = False
) -> SemanticMap:
    """The class of every pixel of the original picture, uint8 [H, W] (int32 where ids or `ignore` need it).

    `logits` [K, h, w] cover the network's frame, padding included. They are brought to the picture's size bilinearly
    (half-pixel centres), some classes at a time, before any decision:

    - multiclass: the class with the largest logit; of equal ones the first
    - binary: 1 where the one logit is above 0 (a probability above one half), else 0
    - multilabel: the class with the largest logit among those above 0; `ignore` (`Labels.ignore`) where there is none

    A logit that is not a number is never the largest. With `scored` the map has the probabilities of the chosen classes
    too, [H, W] float32: by softmax over all classes, or of the two sides of one sigmoid (binary), or of the class's own
    (multilabel). Besides the result, memory is two planes of float32 and 64 MB, with softmax five planes.
    """
    left, top, right, bottom = placement.inside
    planes = logits[:, top:bottom, left:right]
    match head:
        case "binary":
            logit = _resized(planes[:1], placement.original)[0]
            ids = (logit > 0).to(torch.uint8)
            scores = logit.abs().sigmoid().nan_to_num(0.5) if scored else None
        case "multilabel":
            ids, best, _ = _largest(planes, placement.original, 0.0, ignore)
            scores = best.sigmoid().masked_fill(best <= 0, 0.0) if scored else None
        case "multiclass":
            ids, _, total = _largest(planes, placement.original, -torch.inf, 0, total=scored)
            scores = None if total is None else total.reciprocal()
    return SemanticMap(ids.cpu().numpy(), None if scores is None else scores.cpu().numpy(), ignore)


def _largest(
    planes: Tensor, size: tuple[int, int], least: float, otherwise: int, *, total: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Which of the planes [K, h, w] is the largest at each pixel of `size`, if it exceeds `least`, else `otherwise`.

    Besides, its value, else `least`; and with `total` the sum over all planes of exp(plane - largest).
    """
    dtype = torch.uint8 if max(len(planes) - 1, otherwise) <= torch.iinfo(torch.uint8).max else torch.int32
    ids = torch.full(size, otherwise, dtype=dtype, device=planes.device)
    best = torch.full(size, least, device=planes.device)
    sums = torch.zeros(size, device=planes.device) if total else None
    at_once = max(1, _BYTES_AT_ONCE // (4 * size[0] * size[1]))
    for first in range(0, len(planes), at_once):
        for class_id, plane in enumerate(_resized(planes[first : first + at_once], size), start=first):
            if sums is not None:
                known = plane.masked_fill(plane.isnan(), -torch.inf)
                largest = torch.maximum(best, known)
                sums.mul_(_ratio(best, largest)).add_(_ratio(known, largest))
            ids.masked_fill_(plane > best, class_id)
            torch.fmax(best, plane, out=best)
    return ids, best, sums


def _ratio(plane: Tensor, largest: Tensor) -> Tensor:
    """exp(plane - largest); 1 where both are the same infinity."""
    return (plane - largest).nan_to_num_().exp_()


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    planes = planes.float()
    if planes.shape[-2:] == size:
        return planes
    return F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]
