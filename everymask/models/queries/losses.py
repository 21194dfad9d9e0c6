"""How far answers of queries are from the truth (Cheng et al. 2022, 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.blocks.overlap import dice_loss
from everymask.models.blocks.points import at_points, draw_points, unsure_points
from everymask.models.queries.matching import match
from everymask.models.queries.targets import Targets
from everymask.models.shares import count_per_process, per_process
from everymask.models.specs.queries import QuerySpec

Pairs = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the queries say after a layer: `classes` [B, Q, 1 + K], the first of which is none, `masks` [B, Q, h, w],
    both logits.
    """

    classes: Tensor
    masks: Tensor

    def float(self) -> Answer:
        """The same in float32."""
        return Answer(self.classes.float(), self.masks.float())


def query_losses(
    answers: Sequence[Answer], targets: Sequence[Targets], spec: QuerySpec, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """`loss_class`, `loss_pixels` and `loss_dice`, each the sum over the answers of all layers, with their weights.

    Each answer is matched with the truth anew, at points that `generator` draws.
    """
    losses = []
    for answer in answers:
        pairs = []
        for classes, masks, wanted in zip(answer.classes, answer.masks, targets, strict=True):
            points = draw_points(spec.points, 1, generator, masks)
            pairs.append(match(classes, masks, wanted, points, spec))
        found = [masks[queries] for masks, (queries, _) in zip(answer.masks, pairs, strict=True)]
        points = unsure_points(torch.cat(found), spec.points, generator)
        losses.append(matched_losses(answer, targets, pairs, points, spec))
    return {name: torch.stack([each[name] for each in losses]).sum() for name in losses[0]}


def matched_losses(
    answer: Answer, targets: Sequence[Targets], pairs: Pairs, points: Tensor, spec: QuerySpec
) -> dict[str, Tensor]:
    """The losses of one answer whose queries and masks are `pairs`, one for each picture.

    `points` [M, P, 2] are those of the M pairs of the whole batch, picture by picture.
    """
    wanted = torch.zeros(answer.classes.shape[:2], dtype=torch.int64, device=answer.classes.device)
    for row, (target, (queries, rows)) in enumerate(zip(targets, pairs, strict=True)):
        wanted[row, queries] = 1 + target.class_ids[rows]
    weights = answer.classes.new_ones(answer.classes.shape[2])
    weights[0] = spec.none_weight
    of_class = F.cross_entropy(answer.classes.flatten(0, 1), wanted.flatten(), weights, reduction="sum")
    mass = per_process(weights[wanted].sum())
    chosen = [masks[queries] for masks, (queries, _) in zip(answer.masks, pairs, strict=True)]
    split = points.split([len(masks) for masks in chosen])
    logits = torch.cat([at_points(masks, part) for masks, part in zip(chosen, split, strict=True)])
    with torch.no_grad():
        truths = zip(targets, pairs, split, strict=True)
        truth = torch.cat([at_points(target.masks[rows], part) for target, (_, rows), part in truths])
    masks = count_per_process(len(logits), logits)
    of_pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=1).sum()
    of_dice = dice_loss(logits.sigmoid(), truth, (1,)).sum()
    return {
        "loss_class": spec.class_weight * of_class / mass,
        "loss_pixels": spec.pixel_weight * of_pixels / masks,
        "loss_dice": spec.dice_weight * of_dice / masks,
    }
