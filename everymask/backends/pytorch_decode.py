"""Label maps decided where the logits are, on a device from which K planes of floats are slow to fetch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.segmentation import SemanticMap
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.semantic import from_to
from everymask.models.specs.semantic import Head

_BYTES_AT_ONCE = 1 << 26


def decode_on_device(
    logits: Tensor,
    placement: Placement,
    head: Head,
    *,
    ignore: int,
    scored: bool = False,
    kind: type[SemanticMap] = SemanticMap,
) -> SemanticMap:
    """What `everymask.infer.decoding.semantic` makes of the same logits [K, h, w], up to float32's rounding.

    Besides the result, the device holds two planes of float32 and 64 MB, with softmax five planes.
    """
    if head == "from-to":
        return from_to(logits, lambda part, of: decode_on_device(part, placement, of, ignore=ignore, scored=scored))
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
    return kind(ids.cpu().numpy(), None if scores is None else scores.cpu().numpy(), ignore)


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
