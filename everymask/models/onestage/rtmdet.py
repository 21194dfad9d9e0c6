"""RTMDet and RTMDet-Ins (Lyu et al. 2022, "RTMDet: An empirical study of designing real-time object detectors")."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from everymask.core.segmentation import InstanceSet
from everymask.models.base import Batch, RegionOutputs
from everymask.models.blocks.layers import Classifier
from everymask.models.onestage.cspnext import SIZES, CSPNeXt, CSPNeXtPyramid, conv_norm
from everymask.models.onestage.dynamic_masks import (
    WEIGHTS,
    MaskFeatures,
    dice_losses,
    mask_logits,
    middles,
    sampled_masks,
)
from everymask.models.onestage.network import OneStageNetwork
from everymask.models.onestage.places import STRIDES, Candidates, Places, flat, places_of, settle
from everymask.models.onestage.simota import Assigned
from everymask.models.onestage.soft_labels import assign_softly
from everymask.models.regions.boxes import clip_boxes, frames
from everymask.models.shares import count_per_process, per_process
from everymask.models.specs.onestage import CSPNeXtName, RTMDet, RTMDetIns
from everymask.models.tracing import numbers

_BOX_WEIGHT = _MASK_WEIGHT = 2.0
_MOST_OF_A_MAP = 1000
_RARE = 0.01
"""How probable an object is at a place before anything is learned."""


class RTMDetNetwork(OneStageNetwork):
    """Pictures to boxes; a `RTMDetIns` spec adds masks."""

    spec: RTMDet
    encoder_prefix = "backbone."
    classifiers = "head.rtm_cls"

    def __init__(self, spec: RTMDet, num_classes: int) -> None:
        super().__init__(spec, num_classes)
        self.has_masks: bool = isinstance(spec, RTMDetIns)
        size = SIZES[cast(CSPNeXtName, spec.encoder)]
        self.backbone: CSPNeXt = CSPNeXt(size, spec.channels)
        self.neck: CSPNeXtPyramid = CSPNeXtPyramid(size)
        self.grows: bool = spec.grows and not self.has_masks
        self.head: Head = Head(size.channels(2), num_classes, masks=self.has_masks, distance=0.0 if self.grows else 1.0)

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The last convolutions."""
        boxes = ("head.rtm_cls", "head.rtm_reg")
        return (*boxes, "head.rtm_kernel", "head.mask_head.projection") if self.has_masks else boxes

    def forward(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs:
        """Detect in pictures [B, C, H, W]; `windows` [B, 4] xyxy are the pictures without their padding (None: all).

        Masks are logits [K, H / 8, W / 8] of the whole frame.
        """
        windows = frames(images) if windows is None else windows.to(images.device)
        maps = self._maps(images)
        boxes, logits, places = self._boxes(maps)
        limits = STRIDES[0] * numbers([0, 0, maps[0].shape[3], maps[0].shape[2]], windows)
        scores, counts = logits.sigmoid(), [x.shape[2] * x.shape[3] for x in maps]
        candidates = [
            self._candidates(clip_boxes(own, limits), said, counts) for own, said in zip(boxes, scores, strict=True)
        ]
        found, chosen = settle(candidates, windows, self.spec)
        if not self.has_masks:
            return found
        features, weights = self.head.mask_head(maps), self.head.kernels(maps)
        masks = [
            mask_logits(own, each[rows], places.corners[rows], places.strides[rows])
            for own, each, rows in zip(features, weights, chosen, strict=True)
        ]
        return replace(found, mask_logits=torch.cat(masks), paste="frame")

    def _maps(self, images: Tensor) -> list[Tensor]:
        images = self.padded(images)
        out: list[Tensor] = self.neck(self.backbone(images.to(next(self.backbone.parameters()).dtype)))
        return out

    def _boxes(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Places]:
        """Of N places boxes [B, N, 4] xyxy, class logits [B, N, K], and the places."""
        classes, distances = self.head(maps)
        places = places_of(maps)
        raw = flat(distances)
        if self.has_masks:
            raw = F.relu(raw)
        elif self.grows:
            raw = raw.exp()
        sides = raw * places.strides[:, None]
        return torch.cat([places.corners - sides[..., :2], places.corners + sides[..., 2:]], -1), flat(classes), places

    def _candidates(self, boxes: Tensor, scores: Tensor, counts: list[int]) -> Candidates:
        """Of each map the thousand surest pairs of a place and a class."""
        rows, kinds, sure, left_out, start = [], [], [], [], 0
        classes = scores.shape[1]
        for part in scores.split(counts):
            pairs = part.shape[0] * classes
            values, order = part.flatten().topk(torch.sym_min(_MOST_OF_A_MAP, pairs))
            # What is left out is no surer than the last that is not.
            crowded = numbers([pairs], order) > _MOST_OF_A_MAP
            left_out.append(torch.where(crowded, values[-1:], 0))
            rows.append(order // classes + start)
            kinds.append(order % classes)
            sure.append(values)
            start += part.shape[0]
        place, kind, score, beyond = (torch.cat(column) for column in (rows, kinds, sure, left_out))
        wanted = (score > self.spec.score_threshold).nonzero()[:, 0]
        beyond = torch.where(beyond > self.spec.score_threshold, beyond, 0)
        return Candidates(boxes[place[wanted]], score[wanted], kind[wanted], place[wanted], beyond)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Quality focal loss of the classes, whose target is the IoU of the place's box; GIoU of the boxes, weighted by
        that IoU; Dice of the masks.
        """
        maps = self._maps(batch.images)
        boxes, logits, places = self._boxes(maps)
        truths, own_boxes, labels = self.truths(batch)
        assigned = [
            assign_softly((own, kinds, _middles(truth, own)), places, seen, said)
            for truth, own, kinds, seen, said in zip(
                truths, own_boxes, labels, boxes.detach(), logits.detach(), strict=True
            )
        ]
        losses = self.box_losses(boxes, logits, own_boxes, labels, assigned)
        if self.has_masks:
            losses["loss_mask"] = self._mask_loss(maps, truths, places, assigned)
        return losses

    def box_losses(
        self, boxes: Tensor, logits: Tensor, truths: list[Tensor], labels: list[Tensor], assigned: list[Assigned]
    ) -> dict[str, Tensor]:
        """Of the classes and of the boxes."""
        targets, found, wanted = torch.zeros_like(logits), [], []
        for picture, own in enumerate(assigned):
            targets[picture, own.places, labels[picture][own.rows]] = own.iou
            found.append(boxes[picture, own.places])
            wanted.append(truths[picture][own.rows])
        iou = torch.cat([own.iou for own in assigned])
        mass = per_process(iou.sum()).clamp(min=1)
        focal = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        quality = (focal * (targets - logits.sigmoid()) ** 2).sum() / mass
        apart = generalized_box_iou_loss(torch.cat(found), torch.cat(wanted), reduction="none")
        return {"loss_classifier": quality, "loss_box": _BOX_WEIGHT * (apart * iou).sum() / mass}

    def _mask_loss(
        self, maps: list[Tensor], truths: list[InstanceSet], places: Places, assigned: list[Assigned]
    ) -> Tensor:
        features, weights = self.head.mask_head(maps), self.head.kernels(maps)
        height, width = (int(8 * side) for side in maps[0].shape[2:])
        total = features.sum() * 0
        for own, each, truth, taken in zip(features, weights, truths, assigned, strict=True):
            if len(taken.places) and truth.masks is not None:
                rows = taken.places
                logits = mask_logits(own, each[rows], places.corners[rows], places.strides[rows])
                planes = torch.from_numpy(sampled_masks(truth.masks, (height, width))).to(own.device)
                total = total + dice_losses(logits, planes[taken.rows]).sum()
        count = count_per_process(sum(len(taken.places) for taken in assigned), features)
        return _MASK_WEIGHT * total / count


class Head(nn.Module):
    """Classes and distances of each place, by the same convolutions on all maps, behind which each map has norms of its
    own; and, for masks, the weights of small networks, by layers of each map's own.

    With masks the layers before classes and distances are the same, as in all weights that there are.
    """

    def __init__(self, channels: int, num_classes: int, *, masks: bool, distance: float) -> None:
        super().__init__()
        levels = range(len(STRIDES))
        self.cls_convs: nn.ModuleList = nn.ModuleList(SharedConv(channels) for _ in range(2))
        self.reg_convs: nn.ModuleList = (
            nn.ModuleList() if masks else nn.ModuleList(SharedConv(channels) for _ in range(2))
        )
        self.rtm_cls: nn.ModuleList = nn.ModuleList(Classifier(channels, num_classes, 1) for _ in levels)
        self.rtm_reg: nn.ModuleList = nn.ModuleList(Classifier(channels, 4, 1) for _ in levels)
        if masks:
            self.kernel_convs: nn.ModuleList = nn.ModuleList(
                nn.Sequential(conv_norm(channels, channels, 3), conv_norm(channels, channels, 3)) for _ in levels
            )
            self.rtm_kernel: nn.ModuleList = nn.ModuleList(Classifier(channels, WEIGHTS, 1) for _ in levels)
            self.mask_head: MaskFeatures = MaskFeatures(channels)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=0.01)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        for classes, distances in zip(self.rtm_cls, self.rtm_reg, strict=True):
            nn.init.constant_(cast(Tensor, classes.bias), math.log(_RARE / (1 - _RARE)))
            # Boxes that are two strides wide at first: those without extent would overlap with nothing.
            nn.init.constant_(cast(Tensor, distances.bias), distance)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of each map class logits [B, K, h, w], and raw distances [B, 4, h, w] to a box's sides."""
        classes, distances = [], []
        for level, own in enumerate(maps):
            x = y = own
            for layer in self.cls_convs:
                x = layer(x, level)
            for layer in self.reg_convs:
                y = layer(y, level)
            classes.append(self.rtm_cls[level](x))
            distances.append(self.rtm_reg[level](y if len(self.reg_convs) else x))
        return classes, distances

    def kernels(self, maps: list[Tensor]) -> Tensor:
        """[B, N, 169]: the small network of each place."""
        return flat([self.rtm_kernel[level](self.kernel_convs[level](x)) for level, x in enumerate(maps)])


class SharedConv(nn.Module):
    """One convolution for all maps, a norm for each, and SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn: nn.ModuleList = nn.ModuleList(nn.BatchNorm2d(channels) for _ in STRIDES)

    def forward(self, x: Tensor, level: int) -> Tensor:
        return F.silu(self.bn[level](self.conv(x)))


def _middles(truth: InstanceSet, boxes: Tensor) -> Tensor:
    """[T, 2] xy: the middles of the masks, of the boxes [T, 4] where there are none."""
    if truth.masks is None:
        return 0.5 * (boxes[:, :2] + boxes[:, 2:])
    return torch.from_numpy(middles(truth.masks)).to(boxes.device)
