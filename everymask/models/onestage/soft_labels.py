"""Which places stand for which object in RTMDet: dynamic soft labels (Lyu et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.onestage.places import Places
from everymask.models.onestage.simota import Assigned, cheapest
from everymask.models.regions.boxes import box_iou

_RADIUS = 3.0
_BOX_COST = 3.0
_CANDIDATES = 13


@torch.no_grad()
def assign_softly(truth: tuple[Tensor, Tensor, Tensor], places: Places, boxes: Tensor, logits: Tensor) -> Assigned:
    """The assignment for one picture, whose `truth` are T boxes [T, 4], class ids [T] and middles [T, 2] xy.

    The network says of N places `boxes` [N, 4] and class `logits` [N, K]. Candidates are places whose corner lies in
    any truth's box. A place is cheap whose box overlaps, whose class score is near that overlap, and which lies within
    three strides of the middle. Each truth gets as many as the IoU of its thirteen best boxes sum up to.
    """
    own, labels, middles = truth
    corners = places.corners
    inside = ((corners > own[:, None, :2]) & (corners < own[:, None, 2:])).all(dim=2)
    rows = inside.any(dim=0).nonzero()[:, 0]
    iou = box_iou(own, boxes[rows])
    said = logits[rows]
    # For all classes but the truth's the soft label is 0.
    absent = F.softplus(said) * said.sigmoid() ** 2
    present = said[:, labels].T
    soft = F.binary_cross_entropy_with_logits(present, iou, reduction="none") * (iou - present.sigmoid()) ** 2
    of_class = soft + absent.sum(dim=1) - absent[:, labels].T
    distance = (corners[rows] - middles[:, None]).pow(2).sum(dim=2).sqrt() / places.strides[rows]
    cost = of_class - _BOX_COST * torch.log(iou + 1e-7) + 10 ** (distance - _RADIUS)
    matched = cheapest(cost, iou, _CANDIDATES)
    taken = (matched >= 0).nonzero()[:, 0]
    return Assigned(rows[taken], matched[taken], iou[matched[taken], taken])
