"""SimOTA: which places stand for which object, by what the network already says (Ge et al. 2021, OTA and YOLOX)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.onestage.places import Places
from everymask.models.regions.boxes import box_iou

_RADIUS = 2.5
_BOX_COST, _FAR_COST = 3.0, 1e5
_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Assigned:
    """The `places` [P] that stand for objects, the `rows` [P] of the truths that they stand for, and the `iou` [P] of
    their boxes with these.
    """

    places: Tensor
    rows: Tensor
    iou: Tensor


@torch.no_grad()
def assign(truth: tuple[Tensor, Tensor], places: Places, boxes: Tensor, objectness: Tensor, logits: Tensor) -> Assigned:
    """The assignment for one picture, whose `truth` are T boxes [T, 4] and class ids [T].

    The network says of N places `boxes` [N, 4], `objectness` logits [N] and class `logits` [N, K].
    Candidates are places inside a truth's box, or near its middle (within 2.5 strides); those that are not both cost a
    lot more. Each truth gets as many of the cheapest as the IoU of its ten best boxes sum up to.
    """
    own, labels = truth
    inside, near = _inside(own, places), _near(own, places)
    rows = (inside | near).any(dim=0).nonzero()[:, 0]
    iou = box_iou(own, boxes[rows])
    certain = (objectness[rows].sigmoid()[:, None] * logits[rows].sigmoid()).sqrt().float()
    wanted = F.one_hot(labels, logits.shape[1]).float()
    # Of each class there are two answers only: that it is there, and that it is not.
    absent = -torch.log1p(-certain).clamp(min=-100)
    present = -torch.log(certain).clamp(min=-100)
    of_class = wanted @ (present - absent).T + absent.sum(dim=1)
    cost = of_class - _BOX_COST * torch.log(iou + 1e-8) + _FAR_COST * ~(inside & near)[:, rows]
    matched = cheapest(cost, iou, _CANDIDATES)
    taken = (matched >= 0).nonzero()[:, 0]
    return Assigned(rows[taken], matched[taken], iou[matched[taken], taken])


def cheapest(cost: Tensor, iou: Tensor, candidates: int) -> Tensor:
    """For each of M places the row of the truth that it stands for, or -1, from `cost` and `iou`, both [T, M].

    A truth takes the k cheapest places, k being the sum of its `candidates` largest IoU, rounded down, at least 1. A
    place that several take stands for the one that costs it least.
    """
    count, places = cost.shape
    if not count or not places:
        return torch.full((places,), -1, dtype=torch.int64, device=cost.device)
    most = min(candidates, places)
    k = iou.topk(most, dim=1).values.sum(dim=1).int().clamp(1, most)
    order = cost.topk(most, largest=False).indices
    taken = torch.zeros_like(cost, dtype=torch.bool).scatter(1, order, torch.arange(most, device=k.device) < k[:, None])
    several = taken.sum(dim=0) > 1
    best = torch.where(several, cost.argmin(dim=0), taken.int().argmax(dim=0))
    return torch.where(taken.any(dim=0), best, -1)


def _inside(boxes: Tensor, places: Places) -> Tensor:
    """[T, N]: whether a place's centre lies strictly inside a box."""
    centres = places.centres
    return ((centres > boxes[:, None, :2]) & (centres < boxes[:, None, 2:])).all(dim=2)


def _near(boxes: Tensor, places: Places) -> Tensor:
    """[T, N]: whether it lies near a box's middle."""
    middles = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    return ((places.centres - middles[:, None]).abs() < _RADIUS * places.strides[:, None]).all(dim=2)
