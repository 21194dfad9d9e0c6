"""How far answers of RF-DETR are from the truth, and which query is to find which object (Carion et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from everymask.errors import require
from everymask.models.blocks.overlap import dice_loss
from everymask.models.blocks.points import at_points, draw_points, unsure_points
from everymask.models.detr.mask_head import MaskFactors
from everymask.models.regions.boxes import paired_iou
from everymask.models.shares import count_per_process

Pairs = Sequence[tuple[Tensor, Tensor]]
_CLASS_COST = 2.0
_BOX, _GIOU, _PIXELS, _DICE = 5.0, 2.0, 5.0, 5.0
"""Weights of these terms, in the loss and where queries and objects are matched."""
_ALPHA, _GAMMA = 0.25, 2
_LEAST = 0.01
_PIXELS_OF_A_POINT = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What Q queries say: `classes` [B, Q, K] logits, `boxes` [B, Q, 4] cxcywh in 0-1, and their `masks`, if any."""

    classes: Tensor
    boxes: Tensor
    masks: MaskFactors | None

    def float(self) -> Answer:
        """The same in float32."""
        masks = None if self.masks is None else self.masks.float()
        return Answer(self.classes.float(), self.boxes.float(), masks)


@dataclass(frozen=True, slots=True)
class Targets:
    """Of one picture: `class_ids` [N] int64, `boxes` [N, 4] cxcywh in 0-1 of the frame, `masks` [N, H, W] float32 of 0
    and 1 (None: boxes alone are learned).
    """

    class_ids: Tensor
    boxes: Tensor
    masks: Tensor | None


def detr_losses(
    answers: Sequence[Answer],
    targets: Sequence[Targets],
    groups: int,
    class_weight: float,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """The losses of `matched_losses`, each the sum over the answers of all layers.

    Each of the `groups` of queries is matched with the truth on its own, after each layer anew; masks are compared at
    points that `generator` draws.
    """
    losses = []
    for answer in answers:
        pairs = [match(answer, picture, own, groups, generator) for picture, own in enumerate(targets)]
        points = None
        if answer.masks is not None:
            height, width = answer.masks.pixels.shape[2:]
            found = torch.cat([answer.masks.logits(row, queries) for row, (queries, _) in enumerate(pairs)])
            points = unsure_points(found, max(height, height * width // _PIXELS_OF_A_POINT), generator)
        losses.append(matched_losses(answer, targets, pairs, points, groups, class_weight))
    return {name: torch.stack([each[name] for each in losses]).sum() for name in losses[0]}


@torch.no_grad()
def match(
    answer: Answer, picture: int, target: Targets, groups: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The queries of a picture and the rows of its `target` that belong together, both [M] int64, group after group."""
    optimize = require("scipy.optimize", "train")
    points = None
    if answer.masks is not None:
        height, width = answer.masks.pixels.shape[2:]
        points = draw_points(max(1, height * width // _PIXELS_OF_A_POINT), 1, generator, answer.boxes)
    costs = matching_costs(answer, picture, target, points)
    # What is no number is taken only where nothing else is left.
    most = torch.finfo(costs.dtype).max
    queries, rows, first = [], [], 0
    for part in costs.nan_to_num(most, most, most).cpu().chunk(groups):
        own_queries, own_rows = optimize.linear_sum_assignment(part.numpy())
        queries.append(torch.from_numpy(own_queries) + first)
        rows.append(torch.from_numpy(own_rows))
        first += len(part)
    return torch.cat(queries).to(costs.device), torch.cat(rows).to(costs.device)


def matching_costs(answer: Answer, picture: int, target: Targets, points: Tensor | None) -> Tensor:
    """[Q, N]: how badly each query suits each object; masks are compared at `points` [1, P, 2]."""
    logits = answer.classes[picture][:, target.class_ids]
    sure = logits.sigmoid()
    there = _ALPHA * (1 - sure) ** _GAMMA * F.softplus(-logits)
    not_there = (1 - _ALPHA) * sure**_GAMMA * F.softplus(logits)
    boxes = answer.boxes[picture]
    apart = (boxes[:, None] - target.boxes).abs().sum(dim=2)
    overlap = generalized_box_iou(_corners(boxes), _corners(target.boxes))
    costs = _CLASS_COST * (there - not_there) + _BOX * apart - _GIOU * overlap
    if answer.masks is None or target.masks is None or points is None:
        return costs
    found, truth = answer.masks.at(picture, points), at_points(target.masks, points, "nearest")
    of_pixels = (F.softplus(-found) @ truth.T + F.softplus(found) @ (1 - truth).T) / found.shape[1]
    probable = found.sigmoid()
    sums = probable.sum(dim=1)[:, None] + truth.sum(dim=1)
    return costs + _PIXELS * of_pixels + _DICE * (1 - (2 * probable @ truth.T + 1) / (sums + 1))


def matched_losses(
    answer: Answer, targets: Sequence[Targets], pairs: Pairs, points: Tensor | None, groups: int, class_weight: float
) -> dict[str, Tensor]:
    """The losses of one answer whose queries and objects are `pairs`, one for each picture, by the number of objects.

    `loss_classifier` is LW-DETR's, whose target is the IoU of the query's box; `loss_box` is the distance of boxes,
    `loss_giou` says how little they overlap, `loss_pixels` and `loss_dice` are of the masks of the M pairs at `points`
    [M, P, 2].
    """
    count = count_per_process(groups * sum(len(target.class_ids) for target in targets), answer.classes)
    picture = torch.cat([torch.full_like(queries, row) for row, (queries, _) in enumerate(pairs)])
    query = torch.cat([queries for queries, _ in pairs])
    wanted = torch.cat([target.boxes[rows] for target, (_, rows) in zip(targets, pairs, strict=True)])
    kinds = torch.cat([target.class_ids[rows] for target, (_, rows) in zip(targets, pairs, strict=True)])
    found = answer.boxes[picture, query]
    iou = paired_iou(_corners(found.detach()), _corners(wanted))
    losses = {
        "loss_classifier": class_weight * _class_loss(answer.classes, (picture, query, kinds), iou) / count,
        "loss_box": _BOX * (found - wanted).abs().sum() / count,
        "loss_giou": _GIOU * generalized_box_iou_loss(_corners(found), _corners(wanted), reduction="sum") / count,
    }
    if answer.masks is None or points is None:
        return losses
    logits = torch.cat([answer.masks.logits(row, queries) for row, (queries, _) in enumerate(pairs)])
    said = at_points(logits, points)
    split = points.split([len(queries) for queries, _ in pairs])
    shown = [
        at_points(target.masks[rows], own, "nearest")
        for target, (_, rows), own in zip(targets, pairs, split, strict=True)
        if target.masks is not None
    ]
    truth = torch.cat(shown)
    of_pixels = F.binary_cross_entropy_with_logits(said, truth, reduction="none").mean(dim=1).sum()
    of_dice = dice_loss(said.sigmoid(), truth, (1,)).sum()
    return losses | {"loss_pixels": _PIXELS * of_pixels / count, "loss_dice": _DICE * of_dice / count}


def _class_loss(logits: Tensor, places: tuple[Tensor, Tensor, Tensor], iou: Tensor) -> Tensor:
    """The sum over logits [B, Q, K], of which those at `places` are of objects (Chen et al. 2024, LW-DETR, 3.2)."""
    sure = logits.sigmoid()
    quality = (sure[places] ** _ALPHA * iou ** (1 - _ALPHA)).clamp(min=_LEAST).detach().to(sure.dtype)
    present = torch.zeros_like(sure).index_put(places, quality)
    absent = (sure**_GAMMA).index_put(places, 1 - quality)
    return (present * F.softplus(-logits) + absent * F.softplus(logits)).sum()


def _corners(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")
