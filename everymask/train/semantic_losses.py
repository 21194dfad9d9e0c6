"""What semantic networks minimise: losses of a pixel, of a class's region and of its boundary, and sums of them.

All take logits [B, K, H, W] and a target of class ids [B, H, W] or, for several independent channels, of planes
[B, K, H, W] of 0 and 1. Where the target is `IGNORED` a pixel counts in none of them, as in the metrics; where
nothing counts, loss and gradient are 0. With the head "multiclass" probabilities are a softmax over the channels, else
a sigmoid of each. Losses of regions see all pictures of a batch as one, and average over the classes in its truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import assert_never

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.base import Criterion, Network
from everymask.models.semantic.pixel_losses import (
    IGNORED,
    LEAST,
    FromTo,
    binary_cross_entropy,
    class_planes,
    class_weight,
    cross_entropy,
    plane_weight,
)
from everymask.models.shares import over_processes, per_process
from everymask.models.specs.semantic import Head
from everymask.settings.loss_terms import LossTerm, read_loss
from everymask.settings.plan import TaskSettings

_OHEM_PROBABILITY = 0.7
_OHEM_SHARE = 1 / 16


@dataclass(frozen=True, slots=True)
class LossSum:
    """Several losses, each with its weight, as one."""

    terms: tuple[tuple[float, Criterion], ...]

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """The weighted sum, a scalar."""
        return torch.stack([weight * loss(logits, target) for weight, loss in self.terms]).sum()


def set_criterion(module: Network, settings: TaskSettings) -> None:
    """Give a network the loss of pixels that its settings name; without one it has its own."""
    named = settings.pixel_loss
    if named is not None:
        module.minimise(
            lambda head: build_loss(
                named.loss, head, class_weights=named.class_weights, label_smoothing=named.label_smoothing
            )
        )


def build_loss(
    text: str, head: Head, *, class_weights: tuple[float, ...] = (), label_smoothing: float = 0.0
) -> LossSum | FromTo:
    """The loss that `text` names: ce, bce, dice, tversky, focal, lovasz, boundary, ohem, or a sum: "ce+0.5*dice".

    `class_weights` (one per class; empty: all alike) and `label_smoothing` (0-1) act in the losses that look at single
    pixels: ce, bce, focal and ohem take the weights, ce and bce the smoothing. `ConfigError` says what in `text` cannot
    be read. For the head "from-to" it is the loss of the change; what was and is there is learned by cross-entropy,
    which the weights and the smoothing then are for.
    """
    weights = torch.tensor(class_weights) if class_weights else None
    if head == "from-to":
        kinds = None if weights is None else weights[1:]
        return FromTo(
            build_loss(text, "binary"), partial(cross_entropy, weights=kinds, label_smoothing=label_smoothing)
        )
    return LossSum(tuple((term.weight, _criterion(term, head, weights, label_smoothing)) for term in read_loss(text)))


def _criterion(term: LossTerm, head: Head, weights: Tensor | None, smoothing: float) -> Criterion:
    softmax = head == "multiclass"
    match term.name:
        case "ce" if softmax:
            return partial(cross_entropy, weights=weights, label_smoothing=smoothing)
        case "ce" | "bce":
            return partial(binary_cross_entropy, weights=weights, label_smoothing=smoothing)
        case "focal":
            return partial(focal, head=head, weights=weights)
        case "ohem":
            return partial(ohem, head=head, weights=weights)
        case "dice":
            return partial(dice, head=head)
        case "tversky":
            return partial(tversky, head=head)
        case "lovasz":
            return lovasz_softmax if softmax else lovasz_hinge
        case "boundary":
            return partial(boundary, head=head)
        case _:
            assert_never(term.name)


def focal(logits: Tensor, target: Tensor, *, head: Head, weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which each pixel weighs (1 - p) ** gamma, p being what its truth is given (Lin et al. 2017).

    The mean is over pixels (and channels of sigmoids), however little they weigh.
    """
    losses, mass = _pixel_losses(logits, target, head, weights)
    return ((1 - torch.exp(-losses)) ** gamma * losses * mass).sum() / per_process(mass.sum()).clamp(min=LEAST)


def ohem(logits: Tensor, target: Tensor, *, head: Head, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the hard pixels alone (Shrivastava et al. 2016).

    Hard are those whose truth is given a probability below 0.7, and in any case the hardest sixteenth of those that
    count. Reference implementations name a number of pixels instead, about as many of their batches.
    """
    losses, mass = _pixel_losses(logits, target, head, weights)
    counted = mass > 0
    kept = max(1, int(int(counted.sum()) * _OHEM_SHARE))
    hardest = torch.topk(losses.detach().where(counted, -1.0).flatten(), kept).values[-1]
    limit = torch.minimum(hardest, hardest.new_tensor(_OHEM_PROBABILITY).log().neg())
    mass = mass * (losses.detach() >= limit)
    return (losses * mass).sum() / per_process(mass.sum()).clamp(min=LEAST)


def dice(logits: Tensor, target: Tensor, *, head: Head) -> Tensor:
    """One minus the Dice coefficient, with probabilities for predicted regions (Milletari et al. 2016)."""
    return tversky(logits, target, head=head, false_positives=0.5, false_negatives=0.5)


def tversky(
    logits: Tensor, target: Tensor, *, head: Head, false_positives: float = 0.3, false_negatives: float = 0.7
) -> Tensor:
    """One minus the Tversky index, which counts what is missed as worse than what is too much (Salehi et al. 2017)."""
    planes, counted = class_planes(target, logits.shape[1])
    truth = planes.to(logits.dtype)
    found = _probabilities(logits, head) * counted
    over = (0, 2, 3)
    sums = torch.stack([(found * truth).sum(over), found.sum(over), truth.sum(over)])
    common, in_found, in_truth = over_processes(sums)
    surplus, missed = in_found - common, in_truth - common
    index = common / (common + false_positives * surplus + false_negatives * missed).clamp(min=LEAST)
    return _mean_of_present(1 - index, in_truth > 0)


def lovasz_softmax(logits: Tensor, target: Tensor) -> Tensor:
    """The Lovász extension of one minus IoU, on the errors of softmax probabilities (Berman et al. 2018)."""
    planes, counted = class_planes(target, logits.shape[1])
    errors = (planes.to(logits.dtype) - logits.softmax(1)).abs()
    return _lovasz(errors, planes, counted)


def lovasz_hinge(logits: Tensor, target: Tensor) -> Tensor:
    """The Lovász extension of one minus IoU, on the hinge errors of each channel (Berman et al. 2018)."""
    planes, counted = class_planes(target, logits.shape[1])
    errors = F.relu(1 - logits * (2 * planes.to(logits.dtype) - 1))
    return _lovasz(errors, planes, counted)


def boundary(logits: Tensor, target: Tensor, *, head: Head) -> Tensor:
    """How far errors lie from the true boundary (Kervadec et al. 2019): to be added to a loss of regions.

    The mean over pixels of the distance to the class's boundary, in diagonals of the picture, times the difference
    between its probability and the truth. The paper leaves out the truth's own share, which is constant: with it the
    loss is at least 0, and 0 for a perfect answer. Distances are measured on the CPU at each step.
    """
    planes, counted = class_planes(target, logits.shape[1])
    distances = _signed_distances(planes).to(logits)
    counted = counted.expand_as(planes)
    errors = (_probabilities(logits, head) - planes.to(logits.dtype)) * distances * counted
    over = (0, 2, 3)
    sums = over_processes(errors.sum(over))
    count, present = over_processes(torch.stack([counted.sum(over), planes.sum(over)]))
    return _mean_of_present(sums / count.clamp(min=1), present > 0)


def _probabilities(logits: Tensor, head: Head) -> Tensor:
    return logits.softmax(1) if head == "multiclass" else logits.sigmoid()


def _pixel_losses(logits: Tensor, target: Tensor, head: Head, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Minus the logarithm of what each truth is given, and how much it weighs: [B, H, W], or [B, K, H, W]."""
    if head == "multiclass":
        losses = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
        unit = torch.ones(logits.shape[1]) if weights is None else weights
        return losses, class_weight(target, unit.to(logits))
    planes, counted = class_planes(target, logits.shape[1])
    losses = F.binary_cross_entropy_with_logits(logits, planes.to(logits.dtype), reduction="none")
    return losses, plane_weight(planes, counted, weights, logits)


def _mean_of_present(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum() / present.sum().clamp(min=1)


def _lovasz(errors: Tensor, planes: Tensor, counted: Tensor) -> Tensor:
    """The mean over classes of the sorted errors times the gradient of the Jaccard index."""
    losses = []
    seen = counted.expand_as(planes)
    for channel in range(planes.shape[1]):
        keep = seen[:, channel]
        truth = planes[:, channel][keep]
        error, order = errors[:, channel][keep].sort(descending=True)
        losses.append((error * _jaccard_steps(truth[order].to(error.dtype))).sum())
    # A single channel has its background as counterpart: without foreground, all that is found is wrong.
    present = (planes & seen).sum((0, 2, 3)) > 0 if planes.shape[1] > 1 else torch.ones(1, device=errors.device)
    return _mean_of_present(torch.stack(losses), present)


def _jaccard_steps(truth: Tensor) -> Tensor:
    """How much one minus IoU grows with each further pixel that is wrong, for pixels in the order of their errors."""
    total = truth.sum()
    union = total + (1 - truth).cumsum(0)
    loss = 1 - (total - truth.cumsum(0)) / union.clamp(min=1)
    return torch.cat([loss[:1], loss[1:] - loss[:-1]])


def _signed_distances(planes: Tensor) -> Tensor:
    """Distance of every pixel to the class's boundary, in diagonals: negative inside; 0 where there is no boundary."""
    inside = planes.cpu().numpy()
    diagonal = float(np.hypot(*inside.shape[2:]))
    found = np.zeros(inside.shape, np.float32)
    for plane, distances in zip(
        inside.reshape(-1, *inside.shape[2:]), found.reshape(-1, *inside.shape[2:]), strict=True
    ):
        if plane.any() and not plane.all():
            outer, inner = (
                cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                for side in (~plane, plane)
            )
            distances[:] = np.where(plane, 0.5 - inner, outer - 0.5) / diagonal
    return torch.from_numpy(found)
