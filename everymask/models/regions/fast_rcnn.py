"""Fast R-CNN (Girshick 2015): the heads of Faster R-CNN on boxes that are searched for without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from everymask.core.segmentation import InstanceSet
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.searched import searched
from everymask.models.specs.regions import FastRCNN
from everymask.models.steps import AnchorSteps


class FastRCNNNetwork(RCNN):
    """`RCNN` without an RPN; see there. Searching takes longer than the network, but once for each picture."""

    spec: FastRCNN
    exportable = False

    def __init__(self, spec: FastRCNN, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes, pretrained_encoder=pretrained_encoder)
        del self.rpn

    def with_detections(self, most: int) -> FastRCNNNetwork:
        twin = self.sharing()
        twin.spec = self.spec.with_detections(most)
        return twin

    def proposals(self, maps: list[Tensor], images: Tensor, windows: Tensor) -> list[Tensor]:
        return self._searched(images, windows, self.spec.rpn_post_nms[1])

    def proposals_and_losses(
        self,
        maps: list[Tensor],
        images: Tensor,
        windows: Tensor,
        boxes: list[Tensor],
        generator: torch.Generator | None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        return self._searched(images, windows, self.spec.rpn_post_nms[0]), {}

    def _anchored(
        self, maps: list[Tensor], images: Tensor, windows: Tensor, truth: InstanceSet | None
    ) -> tuple[Tensor, AnchorSteps | None]:
        return self.proposals(maps, images, windows)[0], None

    def _searched(self, images: Tensor, windows: Tensor, most: int) -> list[Tensor]:
        return searched(images, windows, replace(self.spec.search, most=most))
