"""R-CNN (Girshick et al. 2014): an encoder that does not learn sees each searched box by itself; SVMs tell classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from everymask.core.segmentation import InstanceSet
from everymask.models.base import Batch
from everymask.models.blocks.encoders import build_encoder, encoder_channels
from everymask.models.regions.boxes import box_iou, encode_boxes
from everymask.models.regions.fast_rcnn import FastRCNNNetwork
from everymask.models.regions.matching import sample_boxes
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.roi_align import Pooler
from everymask.models.regions.roi_heads import BoxPredictor
from everymask.models.shares import count_per_process
from everymask.models.specs.regions import RCNNClassic
from everymask.models.steps import Steps

_AT_ONCE = 64
_LENGTH = 20.0
"""Features are scaled to it on average, as in the paper."""
_NEGATIVE = 0.3
_NEAR = 0.6
_STRIDE = 32


@dataclass(frozen=True, slots=True)
class Crops:
    """Cuts boxes out of pictures [B, C, H, W], with a share of `context` around them, warped to squares."""

    images: Tensor
    side: int
    context: float

    def levels(self, boxes: Tensor) -> Tensor:
        """The picture itself."""
        return torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)

    def pool(self, boxes: Tensor, image_index: Tensor, size: int) -> Tensor:
        """Crops [N, C, side, side], whatever `size` heads of maps ask for."""
        margin = (boxes[:, 2:] - boxes[:, :2]) * self.context
        around = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1)
        indexed = torch.cat([image_index[:, None].to(around.dtype), around], dim=1)
        return roi_align(self.images.float(), indexed, self.side, sampling_ratio=2, aligned=True)


class FrozenEncoder(nn.Module):
    """Crops [N, C, s, s] to vectors [N, D]: the encoder's last map, scaled to one length. It never learns."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.requires_grad_(False)

    @property
    def dtype(self) -> torch.dtype:
        """What pictures must be for it."""
        return next(self.parameters()).dtype

    @torch.no_grad()
    def forward(self, crops: Tensor) -> Tensor:
        parts = [self.body(part)[-1].flatten(1) for part in crops.to(self.dtype).split(_AT_ONCE)]
        return F.normalize(torch.cat(parts).float(), dim=1) * _LENGTH

    def train(self, mode: bool = True) -> Self:
        """Its norms keep their statistics."""
        super().train(mode)
        self.body.eval()
        return self


class RCNNClassicNetwork(FastRCNNNetwork):
    """Pictures to detections, as `RCNN`, of which it has what becomes of regions, but not the pyramid nor the heads.

    SVMs and regression learn by steps along their gradient, as everything here, and not by solvers.
    """

    spec: RCNNClassic

    def __init__(self, spec: RCNNClassic, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super(RCNN, self).__init__()
        self.spec = spec
        self.num_classes = num_classes
        body = build_encoder(spec.encoder, spec.channels, spec.norm, spec.profile, pretrained=pretrained_encoder)
        self.backbone: FrozenEncoder = FrozenEncoder(body)  # type: ignore[assignment]
        width = encoder_channels(body)[-1] * (spec.crop_side // _STRIDE) ** 2
        predictor = BoxPredictor(width, num_classes)
        for layer in (predictor.cls_score, predictor.bbox_pred):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.roi_heads: nn.ModuleDict = nn.ModuleDict({"box_predictor": predictor})

    def region_losses(
        self, maps: list[Tensor], batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The hinge loss of the SVMs, to which only hard negatives contribute, and the squared error of boxes that
        overlap a truth by more than 0.6.

        Positives of a class are its truths alone, negatives what overlaps none of them by 0.3.
        """
        images = batch.images
        _, boxes, labels = self._truths(batch)
        found = self.proposals(maps, images, batch.windows.to(images.device))
        regions, wanted, rows = [], [], []
        for truth, label, proposals in zip(boxes, labels, found, strict=True):
            candidates = torch.cat([truth, proposals])
            iou = box_iou(truth, candidates)
            best, match = iou.max(dim=0) if len(truth) else (candidates.new_zeros(len(candidates)), None)
            near, far = sample_boxes(best > _NEAR, best < _NEGATIVE, self.spec.box_samples, 0.25, generator)
            chosen = torch.cat([torch.arange(len(truth), device=near.device), near[near >= len(truth)], far])
            regions.append(candidates[chosen])
            wanted.append(self._wanted(iou[:, chosen], label))
            rows.append(chosen.new_full(chosen.shape, -1) if match is None else match[chosen])
            rows[-1] = torch.where(best[chosen] > _NEAR, rows[-1], -1)
        logits, deltas = self._classify(self._pooler(maps, images), regions)
        parts = deltas.split([len(own) for own in regions])
        errors = [
            self._errors(part, region, truth, label, row)
            for part, region, truth, label, row in zip(parts, regions, boxes, labels, rows, strict=True)
        ]
        squared = torch.cat(errors)
        return {
            "loss_classifier": _hinge(logits, torch.cat(wanted)),
            "loss_box_reg": squared.sum() / count_per_process(len(squared), logits),
        }

    def _wanted(self, iou: Tensor, label: Tensor) -> Tensor:
        """[R, 1 + classes]: 1 for the class of a truth, -1 where a region is none of a class, 0 where it is left open.

        `iou` [T, R] are the overlaps with the truths, which are the first of the regions.
        """
        wanted = iou.new_full((iou.shape[1], 1 + self.num_classes), -1.0)
        wanted[:, 0] = 0
        kinds = label.cpu().tolist()
        for row, kind in enumerate(kinds):
            wanted[iou[row] >= _NEGATIVE, kind] = 0
        for row, kind in enumerate(kinds):
            wanted[row, kind] = 1
        return wanted

    def _errors(self, deltas: Tensor, regions: Tensor, truth: Tensor, label: Tensor, rows: Tensor) -> Tensor:
        """Squared errors [P] of the regions that have a truth."""
        known = (rows >= 0).nonzero()[:, 0]
        match = rows[known]
        targets = encode_boxes(truth[match], regions[known], self.spec.profile.box_weights)
        return ((deltas[known, label[match]] - targets) ** 2).sum(dim=1)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The pictures themselves."""
        return [images]

    def steps_of(self, maps: list[Tensor], images: Tensor, windows: Tensor, truth: InstanceSet | None) -> Steps:
        return replace(super().steps_of(maps, images, windows, truth), maps=())

    def _pooler(self, maps: list[Tensor], images: Tensor) -> Pooler:
        return Crops(images, self.spec.crop_side, self.spec.context)

    def _classify(self, pooler: Pooler, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        index = [own.new_full((len(own),), picture, dtype=torch.int64) for picture, own in enumerate(regions)]
        crops = pooler.pool(torch.cat(regions), torch.cat(index), self.spec.crop_side)
        logits, deltas = self.roi_heads["box_predictor"](self.backbone(crops))
        return logits.float(), deltas.float()

    def _probable(self, logits: Tensor) -> Tensor:
        """Margins as shares, each class by itself; what no class claims is background."""
        own = logits[:, 1:].sigmoid()
        return torch.cat([1 - own.amax(dim=1, keepdim=True), own], dim=1)


def _hinge(margins: Tensor, wanted: Tensor) -> Tensor:
    """Of positives and of negatives the mean of what is missing to a margin of 1, over those where something is."""
    missing = F.relu(1 - wanted * margins) * (wanted != 0)
    parts = []
    for sign in (1, -1):
        own = missing[wanted == sign]
        parts.append(own.sum() / count_per_process(int((own > 0).sum()), margins))
    return parts[0] + parts[1]
