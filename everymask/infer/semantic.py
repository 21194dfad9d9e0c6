"""From logits per pixel to a label map of the picture; K planes at its size never exist."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.segmentation import SemanticMap
from everymask.data.label_maps import IGNORE
from everymask.data.preprocess import Placement
from everymask.models.dense_specs import Task

_BYTES_AT_ONCE = 1 << 26


def decode_semantic(logits: Tensor, placement: Placement, task: Task) -> SemanticMap:
    """The class of every pixel of the original picture, uint8 [H, W] (int32 for more than 255 classes).

    `logits` [K, h, w] cover the network's frame, padding included. They are brought to the picture's size bilinearly
    (half-pixel centres), some classes at a time, before any decision:

    - multiclass: the class with the largest logit; of equal ones the first
    - binary: 1 where the one logit is above 0 (a probability above one half), else 0
    - multilabel: the class with the largest logit among those above 0; 255, which is none, where there is none

    A logit that is not a number is never the largest. Besides the result, memory is two planes of float32 and 64 MB.
    """
    left, top, right, bottom = placement.window
    planes = logits[:, top:bottom, left:right]
    if task == "binary":
        ids = (_resized(planes[:1], placement.original)[0] > 0).to(torch.uint8)
    else:
        least = 0.0 if task == "multilabel" else -torch.inf
        ids = _largest(planes, placement.original, least, IGNORE if task == "multilabel" else 0)
    return SemanticMap(ids.cpu().numpy())


def _largest(planes: Tensor, size: tuple[int, int], least: float, otherwise: int) -> Tensor:
    """Which of the planes [K, h, w] is the largest at each pixel of `size`, if it exceeds `least`; else `otherwise`."""
    ids = torch.full(size, otherwise, dtype=torch.uint8 if len(planes) <= IGNORE else torch.int32, device=planes.device)
    best = torch.full(size, least, device=planes.device)
    at_once = max(1, _BYTES_AT_ONCE // (4 * size[0] * size[1]))
    for first in range(0, len(planes), at_once):
        for class_id, plane in enumerate(_resized(planes[first : first + at_once], size), start=first):
            ids.masked_fill_(plane > best, class_id)
            torch.fmax(best, plane, out=best)
    return ids


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    planes = planes.float()
    if planes.shape[-2:] == size:
        return planes
    return F.interpolate(planes[None], size=size, mode="bilinear", align_corners=False)[0]
