"""Which query is to find which mask: the pairs that cost least together (Carion et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.errors import require
from everymask.models.blocks.points import at_points
from everymask.models.queries.targets import Targets
from everymask.models.specs.queries import QuerySpec


@torch.no_grad()
def match(classes: Tensor, masks: Tensor, targets: Targets, points: Tensor, spec: QuerySpec) -> tuple[Tensor, Tensor]:
    """The queries and the rows of `targets` that belong together, both [min(Q, N)] int64 on their device.

    `classes` [Q, 1 + K] and `masks` [Q, h, w] are the logits of one picture, the first class being none; `points`
    [1, P, 2] are those at which masks are compared.
    """
    optimize = require("scipy.optimize", "train")
    costs = matching_costs(classes, masks, targets, points, spec)
    # What is no number is taken only where nothing else is left.
    most = torch.finfo(costs.dtype).max
    pairs = optimize.linear_sum_assignment(costs.nan_to_num(most, most, most).cpu().numpy())
    queries, rows = (torch.from_numpy(part).to(classes.device) for part in pairs)
    return queries, rows


def matching_costs(classes: Tensor, masks: Tensor, targets: Targets, points: Tensor, spec: QuerySpec) -> Tensor:
    """[Q, N]: how badly each query suits each mask; the terms and their weights are those of the loss."""
    logits, truth = at_points(masks, points), at_points(targets.masks, points)
    of_class = -classes.softmax(dim=1)[:, 1 + targets.class_ids]
    count = logits.shape[1]
    of_pixels = F.softplus(-logits) @ truth.T / count + F.softplus(logits) @ (1 - truth).T / count
    probable = logits.sigmoid()
    sums = probable.sum(dim=1)[:, None] + truth.sum(dim=1)
    of_dice = 1 - (2 * probable @ truth.T + 1) / (sums + 1)
    return spec.class_weight * of_class + spec.pixel_weight * of_pixels + spec.dice_weight * of_dice
