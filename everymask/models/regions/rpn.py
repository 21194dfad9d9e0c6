"""Region proposal network (Ren et al. 2015, "Faster R-CNN")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.regions.boxes import (
    anchors_for,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    not_smaller_than,
    suppress,
)
from everymask.models.regions.matching import BACKGROUND, match_boxes, sample_boxes
from everymask.models.shares import count_per_process
from everymask.models.specs.regions import FasterRCNN


class RPNHead(nn.Module):
    """Objectness [B, A, h, w] and deltas [B, 4A, h, w] of every level, by the same convolutions."""

    def __init__(self, in_channels: int, channels: int, anchors: int, depth: int) -> None:
        super().__init__()
        self.conv: nn.Sequential = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(channels if k else in_channels, channels, 3, padding=1), nn.ReLU(inplace=True))
                for k in range(depth)
            )
        )
        self.cls_logits: nn.Conv2d = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred: nn.Conv2d = nn.Conv2d(channels, 4 * anchors, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        features = [self.conv(x) for x in maps]
        return [self.cls_logits(x) for x in features], [self.bbox_pred(x) for x in features]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The strongest anchors of a batch, moved and cut to the pictures, before they suppress each other.

    `boxes` [B, M, 4] xyxy, `scores` [B, M] in 0-1, `anchors` [B, M] their rows among all anchors, and `groups` [M]
    within which they compete: levels of the pyramid, or one.
    """

    boxes: Tensor
    scores: Tensor
    anchors: Tensor
    groups: Tensor


def match_anchors(boxes: Tensor, anchors: Tensor) -> Tensor:
    """[N]: which of the truth's boxes [T, 4] each anchor [N, 4] learns from; see `match_boxes`."""
    return match_boxes(box_iou(boxes, anchors), 0.3, 0.7, rescue=True)


class RegionProposalNetwork(nn.Module):
    """Scores anchors, refines them, and keeps the best as proposals."""

    def __init__(self, spec: FasterRCNN) -> None:
        super().__init__()
        self.spec = spec
        self.head: RPNHead = RPNHead(spec.fpn_channels, spec.rpn_channels, spec.anchors_per_place, spec.rpn_depth)

    def forward(self, maps: list[Tensor], image_size: tuple[int, int]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Objectness logits [B, N], deltas [B, N, 4], and each level's anchors, whose counts sum to N."""
        logits, deltas = self.head(maps)
        anchors = anchors_for(maps, image_size, self.spec)
        flat_logits = torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in logits], dim=1)
        flat_deltas = torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4) for x in deltas], dim=1)
        return flat_logits.float(), flat_deltas.float(), anchors

    def propose(
        self, logits: Tensor, deltas: Tensor, anchors: list[Tensor], windows: Tensor, *, training: bool
    ) -> list[Tensor]:
        """Proposals of each picture, [P, 4], surest first, cut to the windows [B, 4] xyxy."""
        found = self.candidates(logits, deltas, anchors, windows, training=training)
        rows = self.surviving(found, training=training)
        return [boxes[kept] for boxes, kept in zip(found.boxes, rows, strict=True)]

    @torch.no_grad()
    def candidates(
        self, logits: Tensor, deltas: Tensor, anchors: list[Tensor], windows: Tensor, *, training: bool
    ) -> Candidates:
        """The boxes of the strongest anchors, cut to the windows [B, 4] xyxy."""
        profile = self.spec.profile
        pre = self.spec.rpn_pre_nms[0 if training else 1]
        counts = [level.shape[0] for level in anchors] if profile.rpn_selection == "per-level" else [logits.shape[1]]
        chosen, groups = self._strongest(logits, counts, pre)
        boxes = decode_boxes(
            deltas.gather(1, chosen[..., None].expand(-1, -1, 4)),
            torch.cat(anchors)[chosen],
            profile.rpn_box_weights,
            clamp=profile.clamp_growth,
        )
        boxes = clip_boxes(boxes, windows[:, None, :], inclusive=profile.inclusive_boxes, least=profile.least_side)
        return Candidates(boxes, logits.gather(1, chosen).sigmoid(), chosen, groups)

    @torch.no_grad()
    def surviving(self, found: Candidates, *, training: bool) -> list[Tensor]:
        """Of each picture the rows [P] of the candidates that become proposals, surest first."""
        spec = self.spec
        kept = []
        for boxes, scores in zip(found.boxes, found.scores, strict=True):
            wanted = not_smaller_than(boxes, 1e-3) & (scores >= spec.rpn_score_threshold)
            rows = wanted.nonzero()[:, 0]
            most = spec.rpn_post_nms[0 if training else 1]
            kept.append(rows[suppress(boxes[rows], scores[rows], found.groups[rows], spec.rpn_nms, most)])
        return kept

    @staticmethod
    def _strongest(logits: Tensor, counts: list[int], most: int) -> tuple[Tensor, Tensor]:
        """Indices [B, M] of the strongest anchors of each group, and the group [M] of each column."""
        chosen, groups, start = [], [], 0
        for group, part in enumerate(logits.split(counts, dim=1)):
            top = part.topk(torch.sym_min(most, part.shape[1]), dim=1).indices
            chosen.append(top + start)
            groups.append(top.new_full((top.shape[1],), group))
            start += part.shape[1]
        return torch.cat(chosen, dim=1), torch.cat(groups)

    def loss(
        self,
        logits: Tensor,
        deltas: Tensor,
        anchors: list[Tensor],
        truths: list[Tensor],
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """Objectness and box loss of a random sample of anchors; `truths` are each picture's boxes [T, 4]."""
        flat = torch.cat(anchors)
        rows, targets, is_object = [], [], []
        for picture, boxes in enumerate(truths):
            matches = match_anchors(boxes, flat)
            positive, negative = sample_boxes(
                matches >= 0, matches == BACKGROUND, self.spec.rpn_samples, 0.5, generator
            )
            rows.append(torch.cat([positive, negative]) + picture * len(flat))
            is_object.append(torch.arange(len(positive) + len(negative), device=flat.device) < len(positive))
            targets.append(encode_boxes(boxes[matches[positive]], flat[positive], self.spec.profile.rpn_box_weights))
        sampled, labels = torch.cat(rows), torch.cat(is_object)
        count = count_per_process(len(sampled), logits)
        objectness = F.binary_cross_entropy_with_logits(logits.flatten()[sampled], labels.to(logits.dtype))
        predicted = deltas.reshape(-1, 4)[sampled[labels]]
        box = F.smooth_l1_loss(predicted, torch.cat(targets), beta=1 / 9, reduction="sum") / count
        return {"loss_objectness": objectness * (len(sampled) / count), "loss_rpn_box_reg": box}
