"""What region networks learn from in a step: the objects of each picture, and regions that stand for them or not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everymask.core.segmentation import InstanceSet
from everymask.models.regions.boxes import encode_boxes
from everymask.models.specs.regions import Weighted


@dataclass(frozen=True, slots=True)
class Known:
    """Of each picture the `objects`, their `boxes` [T, 4] and `labels` [T] (from 1); `windows` [B, 4] are the pictures
    without their padding.
    """

    objects: list[InstanceSet]
    boxes: list[Tensor]
    labels: list[Tensor]
    windows: Tensor


@dataclass(frozen=True, slots=True)
class Sampled:
    """Of each picture the `regions` [R, 4] to learn from, the truth that each `matches` [R] (below 0: none), and its
    `labels` [R] (0: background).
    """

    regions: list[Tensor]
    matches: list[Tensor]
    labels: list[Tensor]

    def positives(self) -> Sampled:
        """Those that are no background."""
        keep = [label > 0 for label in self.labels]
        columns = (self.regions, self.matches, self.labels)
        return Sampled(*([part[own] for part, own in zip(column, keep, strict=True)] for column in columns))

    def targets(self, boxes: list[Tensor], weights: Weighted) -> Tensor:
        """[R, 4]: the deltas that make the truths' `boxes` [T, 4] of the regions, which all have one (`positives`)."""
        return torch.cat(
            [
                encode_boxes(truth[match], region, weights)
                for truth, match, region in zip(boxes, self.matches, self.regions, strict=True)
            ]
        )


def image_index(boxes: list[Tensor]) -> Tensor:
    """[N]: which picture each box of the concatenated lists belongs to."""
    return torch.cat([own.new_full((own.shape[0],), picture, dtype=torch.int64) for picture, own in enumerate(boxes)])
