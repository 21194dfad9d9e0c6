"""YOLOX (Ge et al. 2021, "YOLOX: Exceeding YOLO series in 2021"), parameters named as in its authors' code."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.base import Batch, RegionOutputs
from everymask.models.blocks.layers import Classifier
from everymask.models.onestage.csp_darknet import SIZES, CrossStage, CSPDarknet, Size
from everymask.models.onestage.layers import ConvNorm
from everymask.models.onestage.network import OneStageNetwork
from everymask.models.onestage.places import STRIDES, Candidates, Places, flat, places_of, settle
from everymask.models.onestage.simota import Assigned, assign
from everymask.models.regions.boxes import frames, paired_iou
from everymask.models.shares import count_per_process
from everymask.models.specs.onestage import YOLOX, DarknetName

_BOX_WEIGHT = 5.0
_RARE = 0.01
"""How probable an object is at a place before anything is learned."""


class YOLOXNetwork(OneStageNetwork):
    """Pictures to boxes."""

    spec: YOLOX
    encoder_prefix = "backbone.backbone."
    classifiers = "head.cls_preds"

    def __init__(self, spec: YOLOX, num_classes: int) -> None:
        super().__init__(spec, num_classes)
        size = SIZES[cast(DarknetName, spec.encoder)]
        self.backbone: TwoWayPyramid = TwoWayPyramid(size, spec.channels)
        self.head: Head = Head(size, num_classes)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The first layer, which sees pictures of 0 to 255, more than bfloat16 can tell apart, and the last ones."""
        return ("backbone.backbone.stem", "head.cls_preds", "head.reg_preds", "head.obj_preds")

    def forward(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs:
        """Detect in pictures [B, C, H, W], H and W multiples of 32 or filled up to them; `windows` [B, 4] xyxy are the
        pictures without their padding (None: all).
        """
        windows = frames(images) if windows is None else windows.to(images.device)
        boxes, objectness, logits, _ = self.look(images)
        scores, class_ids = (objectness.sigmoid()[..., None] * logits.sigmoid()).max(dim=2)
        candidates = []
        for own_boxes, own_scores, own_ids in zip(boxes, scores, class_ids, strict=True):
            rows = (own_scores >= self.spec.score_threshold).nonzero()[:, 0]
            none = own_scores.new_zeros(0)
            candidates.append(Candidates(own_boxes[rows], own_scores[rows], own_ids[rows], rows, none))
        return settle(candidates, windows, self.spec)[0]

    def look(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Places]:
        """Of N places boxes [B, N, 4] xyxy, objectness logits [B, N] and class logits [B, N, K]."""
        maps = self.head(self.backbone(self.padded(images)))
        moves, objectness, logits = (flat(own) for own in maps)
        places = places_of(maps[0])
        strides = places.strides[:, None]
        centres = moves[..., :2] * strides + places.corners
        halves = 0.5 * strides * moves[..., 2:].exp()
        return torch.cat([centres - halves, centres + halves], dim=-1), objectness[..., 0], logits, places

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Of the places to which SimOTA gives an object: box (1 - IoU squared, five times) and class, whose target is
        the IoU; and objectness of all places. Each is divided by the number of those places.
        """
        boxes, objectness, logits, places = self.look(batch.images)
        _, truths, labels = self.truths(batch)
        assigned = [
            assign(own, places, seen, surely, kinds)
            for own, seen, surely, kinds in zip(
                zip(truths, labels, strict=True), boxes.detach(), objectness.detach(), logits.detach(), strict=True
            )
        ]
        return self.losses(boxes, objectness, logits, truths, labels, assigned)

    def losses(
        self,
        boxes: Tensor,
        objectness: Tensor,
        logits: Tensor,
        truths: list[Tensor],
        labels: list[Tensor],
        assigned: list[Assigned],
    ) -> dict[str, Tensor]:
        """`loss`, of what `look` says and to which truth each place is assigned."""
        wanted = torch.zeros_like(objectness)
        found, targets, seen, kinds = [], [], [], []
        for picture, own in enumerate(assigned):
            wanted[picture, own.places] = 1
            found.append(boxes[picture, own.places])
            targets.append(truths[picture][own.rows])
            seen.append(logits[picture, own.places])
            kinds.append(F.one_hot(labels[picture][own.rows], self.num_classes) * own.iou[:, None])
        count = count_per_process(sum(len(own.places) for own in assigned), logits)
        iou = paired_iou(torch.cat(found), torch.cat(targets))
        return {
            "loss_box": _BOX_WEIGHT * (1 - iou**2).sum() / count,
            "loss_objectness": F.binary_cross_entropy_with_logits(objectness, wanted, reduction="sum") / count,
            "loss_classifier": F.binary_cross_entropy_with_logits(torch.cat(seen), torch.cat(kinds), reduction="sum")
            / count,
        }


class TwoWayPyramid(nn.Module):
    """Maps at strides 8, 16 and 32 that have seen each other, from coarse to fine and back (Liu et al. 2018, PANet)."""

    def __init__(self, size: Size, channels: int) -> None:
        super().__init__()
        fine, middle, coarse = (size.channels(level) for level in (2, 3, 4))
        self.backbone: CSPDarknet = CSPDarknet(size, channels)
        self.lateral_conv0: ConvNorm = ConvNorm(coarse, middle, 1)
        self.C3_p4: CrossStage = CrossStage(size, 2 * middle, middle, size.blocks, residual=False)
        self.reduce_conv1: ConvNorm = ConvNorm(middle, fine, 1)
        self.C3_p3: CrossStage = CrossStage(size, 2 * fine, fine, size.blocks, residual=False)
        self.bu_conv2: nn.Module = size.convolution(fine, fine, 2)
        self.C3_n3: CrossStage = CrossStage(size, 2 * fine, middle, size.blocks, residual=False)
        self.bu_conv1: nn.Module = size.convolution(middle, middle, 2)
        self.C3_n4: CrossStage = CrossStage(size, 2 * middle, coarse, size.blocks, residual=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.backbone(images)
        top = self.lateral_conv0(coarse)
        joined = self.C3_p4(torch.cat([_twice(top), middle], dim=1))
        side = self.reduce_conv1(joined)
        first = self.C3_p3(torch.cat([_twice(side), fine], dim=1))
        second = self.C3_n3(torch.cat([self.bu_conv2(first), side], dim=1))
        third = self.C3_n4(torch.cat([self.bu_conv1(second), top], dim=1))
        return first, second, third


class Head(nn.Module):
    """Of each map boxes [B, 4, h, w], objectness [B, 1, h, w] and classes [B, K, h, w], by layers of its own."""

    def __init__(self, size: Size, num_classes: int) -> None:
        super().__init__()
        hidden = size.channels(2)
        self.cls_convs: nn.ModuleList = nn.ModuleList(_branch(size, hidden) for _ in STRIDES)
        self.reg_convs: nn.ModuleList = nn.ModuleList(_branch(size, hidden) for _ in STRIDES)
        self.cls_preds: nn.ModuleList = nn.ModuleList(Classifier(hidden, num_classes, 1) for _ in STRIDES)
        self.reg_preds: nn.ModuleList = nn.ModuleList(Classifier(hidden, 4, 1) for _ in STRIDES)
        self.obj_preds: nn.ModuleList = nn.ModuleList(Classifier(hidden, 1, 1) for _ in STRIDES)
        self.stems: nn.ModuleList = nn.ModuleList(ConvNorm(size.channels(level), hidden, 1) for level in (2, 3, 4))
        for last in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(cast(Tensor, last.bias), math.log(_RARE / (1 - _RARE)))

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        moves, objectness, classes = [], [], []
        for level, own in enumerate(maps):
            x = self.stems[level](own)
            classes.append(self.cls_preds[level](self.cls_convs[level](x)))
            features = self.reg_convs[level](x)
            moves.append(self.reg_preds[level](features))
            objectness.append(self.obj_preds[level](features))
        return moves, objectness, classes


def _branch(size: Size, channels: int) -> nn.Sequential:
    return nn.Sequential(size.convolution(channels, channels), size.convolution(channels, channels))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
