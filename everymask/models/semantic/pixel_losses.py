"""Cross-entropy per pixel, and how targets of semantic networks are read; `train.semantic_losses` has the others.

Targets are class ids [B, H, W] or, for several independent channels, planes [B, K, H, W] of 0 and 1. Where they are
`IGNORED` a pixel counts nowhere; where nothing counts, loss and gradient are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.shares import per_process

IGNORED = -100
"""What stands in targets where there is no truth: the number that PyTorch's losses take for that."""
LEAST = 1e-7


@dataclass(frozen=True, slots=True)
class FromTo:
    """The loss of what became of what: that of the `change`, and of the `classes` of both dates where there is one.

    Takes logits [B, 2 K - 1, H, W] (change, what was, what is) and targets [B, 2, H, W] of class ids, 0 for no change.
    What is there is only known, and only learned, inside of the change (Yang et al. 2022, "SECOND").
    """

    change: Callable[[Tensor, Tensor], Tensor]
    classes: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The sum of the two, a scalar."""
        now = target[:, 1]
        changed = torch.where(now == IGNORED, IGNORED, (now > 0).long())
        kinds = torch.cat(target.unbind(dim=1)) - 1
        kinds = torch.where(kinds < 0, IGNORED, kinds)
        return self.change(logits[:, :1], changed) + self.classes(torch.cat(logits[:, 1:].chunk(2, dim=1)), kinds)


def cross_entropy(
    logits: Tensor, target: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Softmax cross-entropy as PyTorch's: the mean over pixels, each weighing what its class does.

    `label_smoothing` gives that share of the truth to all classes alike (Szegedy et al. 2016).
    """
    weights = None if weights is None else weights.to(logits)
    total = F.cross_entropy(
        logits, target, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    counted = target != IGNORED
    mass = counted.sum() if weights is None else class_weight(target, weights).sum()
    return total / per_process(mass).clamp(min=LEAST)


def binary_cross_entropy(
    logits: Tensor, target: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Sigmoid cross-entropy of each channel: the mean over channels and pixels, each weighing what its class does."""
    planes, counted = class_planes(target, logits.shape[1])
    wanted = planes.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    mass = plane_weight(planes, counted, weights, logits)
    total = F.binary_cross_entropy_with_logits(logits, wanted, weight=mass, reduction="sum")
    return total / per_process(mass.sum()).clamp(min=LEAST)


def class_planes(target: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Where each of `channels` holds, [B, K, H, W] bool, and which pixels count, [B, 1 or K, H, W] bool.

    A single channel is class 1. A target of planes gives them back.
    """
    if target.ndim == 4:
        return target == 1, target != IGNORED
    counted = (target != IGNORED)[:, None]
    if channels == 1:
        return (target == 1)[:, None], counted
    return target[:, None] == torch.arange(channels, device=target.device)[None, :, None, None], counted


def class_weight(target: Tensor, weights: Tensor) -> Tensor:
    """What each pixel's class weighs; 0 where it is ignored."""
    counted = target != IGNORED
    return weights[target.where(counted, 0)] * counted


def plane_weight(planes: Tensor, counted: Tensor, weights: Tensor | None, like: Tensor) -> Tensor:
    """What each pixel of each channel weighs: the class's weight where it holds; where not, 1 or the background's."""
    mass = counted.expand_as(planes).to(like.dtype)
    if weights is None:
        return mass
    weights = weights.to(like)
    background, classes = (weights[0], weights[1:]) if planes.shape[1] == 1 else (weights.new_ones(()), weights)
    return mass * torch.where(planes, classes[:, None, None], background)
