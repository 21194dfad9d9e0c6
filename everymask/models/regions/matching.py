"""Which truth a box stands for, and which boxes a step trains on."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -2
BACKGROUND = -1


def match_boxes(iou: Tensor, low: float, high: float, *, rescue: bool) -> Tensor:
    """For each of N boxes the row of the truth it matches, BACKGROUND or IGNORED, from `iou` [truths, N].

    Overlap of at least `high` matches, below `low` is background, between is ignored. With `rescue` every truth also
    takes the boxes that overlap it most (ties included), so that no truth is left without an anchor (Ren et al. 2015).
    """
    if iou.shape[0] == 0:
        return torch.full((iou.shape[1],), BACKGROUND, dtype=torch.int64, device=iou.device)
    best, rows = iou.max(dim=0)
    matches = torch.where(best >= high, rows, torch.where(best < low, BACKGROUND, IGNORED))
    if rescue:
        most = iou.max(dim=1, keepdim=True).values
        wanted = ((iou == most) & (most > 0)).any(dim=0)
        matches = torch.where(wanted, rows, matches)
    return matches


def sample_boxes(
    positive: Tensor, negative: Tensor, count: int, fraction: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Random indices of at most `count` boxes: up to `fraction` of them positive, the rest negative.

    `positive` and `negative` are bool [N]. When nothing has to be left out, nothing is drawn.
    """
    positives, negatives = positive.nonzero()[:, 0], negative.nonzero()[:, 0]
    chosen = _draw(positives, int(count * fraction), generator)
    return chosen, _draw(negatives, count - len(chosen), generator)


def _draw(indices: Tensor, most: int, generator: torch.Generator | None) -> Tensor:
    if len(indices) <= most:
        return indices
    order = torch.randperm(len(indices), generator=generator)[:most]
    return indices[order.to(indices.device)]
