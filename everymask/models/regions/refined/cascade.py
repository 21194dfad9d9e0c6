"""Cascade R-CNN (Cai and Vasconcelos 2018): box heads one after the other, each on the boxes of the one before."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.models.base import ClassRows
from everymask.models.regions.boxes import box_iou, not_smaller_than
from everymask.models.regions.matching import match_boxes
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.roi_align import Pooler
from everymask.models.regions.roi_heads import (
    BOX_SIDE,
    MASK_SIDE,
    BoxPredictor,
    MaskPredictor,
    box_losses,
    build_box_head,
    build_mask_head,
    mask_loss,
)
from everymask.models.regions.samples import Known, Sampled, image_index
from everymask.models.specs.regions import CascadeMaskRCNN, CascadeSpec


class CascadeNetwork(RCNN):
    """`RCNN` whose box heads, and with `stage_masks` mask heads, stand in lists, a member for each stage.

    All classes share one box. A stage learns from the regions of the first that the stages before have moved, as in
    Detectron2; masks from those of the first, or each mask head from those of its stage.
    """

    spec: CascadeSpec  # type: ignore[assignment,unused-ignore]

    def __init__(self, spec: CascadeSpec, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes, pretrained_encoder=pretrained_encoder)
        stages, width = range(len(spec.stage_ious)), spec.box_fcs[-1]
        self.roi_heads["box_head"] = nn.ModuleList(build_box_head(spec) for _ in stages)
        self.roi_heads["box_predictor"] = nn.ModuleList(
            BoxPredictor(width, num_classes, shared_box=True) for _ in stages
        )
        if isinstance(spec, CascadeMaskRCNN) and spec.stage_masks:
            hidden = spec.mask_convs[-1]
            self.roi_heads["mask_head"] = nn.ModuleList(build_mask_head(spec) for _ in stages)
            self.roi_heads["mask_predictor"] = nn.ModuleList(
                MaskPredictor(hidden, spec.mask_channels, num_classes) for _ in stages
            )

    def class_rows(self) -> ClassRows:
        """Of each stage's class scores a row, of the mask predictor one, for the background and then each class."""
        layers = [f"box_predictor.{stage}.cls_score" for stage in range(len(self.spec.stage_ious))]
        classifiers = frozenset(f"roi_heads.{layer}.weight" for layer in layers)
        if self.has_masks:
            layers += [f"{place}.mask_fcn_logits" for place in self._mask_places("mask_predictor")]
        names = [f"roi_heads.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
        return ClassRows(dict.fromkeys(names, 1), 1, classifiers)

    def _judged(self, pooler: Pooler, proposals: list[Tensor], windows: Tensor) -> tuple[Tensor, Tensor]:
        said: list[Tensor] = []
        regions = proposals
        for stage, weights in enumerate(self.spec.stage_box_weights):
            logits, deltas = self._classify_at(stage, pooler, regions)
            said.append(self._probable(logits) if self.spec.stage_scores == "probabilities" else logits)
            regions = self._moved(deltas, regions, windows, weights)
        mean = torch.stack(said).mean(dim=0)
        scores = mean if self.spec.stage_scores == "probabilities" else self._probable(mean)
        return scores, torch.cat(regions)[:, None].expand(-1, scores.shape[1], -1)

    def _head_losses(
        self, pooler: Pooler, sampled: Sampled, known: Known, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        spec, losses = self.spec, dict[str, Tensor]()
        positives = sampled.positives()
        if isinstance(spec, CascadeMaskRCNN) and not spec.stage_masks:
            losses |= self._mask_losses(pooler, positives, known, generator)
        for stage, (weights, share) in enumerate(zip(spec.stage_box_weights, spec.stage_losses, strict=True)):
            logits, deltas = self._classify_at(stage, pooler, sampled.regions)
            each = deltas.expand(-1, logits.shape[1], -1)
            own = box_losses(logits, each, torch.cat(sampled.labels), positives.targets(known.boxes, weights))
            if isinstance(spec, CascadeMaskRCNN) and spec.stage_masks:
                own["loss_mask"] = self._stage_mask_loss(stage, pooler, positives, known)
            losses |= {f"{name}_{stage + 1}": share * loss for name, loss in own.items()}
            if stage + 1 < len(spec.stage_ious):
                moved = self._moved(deltas.detach(), sampled.regions, known.windows, weights)
                sampled = _matched(moved, known, spec.stage_ious[stage + 1])
                positives = sampled.positives()
        return losses

    def _sample(
        self, proposals: list[Tensor], boxes: list[Tensor], labels: list[Tensor], generator: torch.Generator | None
    ) -> Sampled:
        return self._sample_at(self.spec.stage_ious[0], proposals, boxes, labels, generator)

    def _classify_at(self, stage: int, pooler: Pooler, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [R, 1 + classes] and deltas [R, 1, 4] of a stage."""
        pooled = pooler.pool(torch.cat(regions), image_index(regions), BOX_SIDE)
        head, predictor = (_member(self.roi_heads[part], stage) for part in ("box_head", "box_predictor"))
        logits, deltas = predictor(head(pooled))
        return logits.float(), deltas.float()

    def _moved(
        self, deltas: Tensor, regions: list[Tensor], windows: Tensor, weights: tuple[float, float, float, float]
    ) -> list[Tensor]:
        """The regions of each picture as their deltas [R, 1, 4] move them, cut to the pictures."""
        moved = self._refined(deltas, regions, windows, weights)[:, 0]
        return list(moved.split([own.shape[0] for own in regions]))

    def _mask_places(self, part: str) -> list[str]:
        """The names of a mask head's part, or of its parts in each stage."""
        several = isinstance(self.roi_heads[part], nn.ModuleList)
        return [f"{part}.{stage}" for stage in range(len(self.spec.stage_ious))] if several else [part]

    def _mask_logits(self, pooler: Pooler, boxes: Tensor, image_index: Tensor, planes: Tensor) -> Tensor:
        if not isinstance(self.roi_heads["mask_head"], nn.ModuleList):
            return super()._mask_logits(pooler, boxes, image_index, planes)
        pooled = pooler.pool(boxes, image_index, MASK_SIDE)
        said = [self._stage_masks(stage, pooled, planes).sigmoid() for stage in range(len(self.spec.stage_ious))]
        return torch.stack(said).mean(dim=0).logit(eps=1e-6)

    def _stage_masks(self, stage: int, pooled: Tensor, planes: Tensor) -> Tensor:
        head, predictor = (_member(self.roi_heads[part], stage) for part in ("mask_head", "mask_predictor"))
        assert isinstance(predictor, MaskPredictor)
        return predictor.own_class(head(pooled), planes).float()

    def _stage_mask_loss(self, stage: int, pooler: Pooler, positives: Sampled, known: Known) -> Tensor:
        regions = positives.regions
        pooled = pooler.pool(torch.cat(regions), image_index(regions), MASK_SIDE)
        planes = self._stage_masks(stage, pooled, torch.cat(positives.labels))
        wanted = self._mask_targets(known.objects, positives, planes.shape[-1]).to(planes.device)
        return mask_loss(planes, wanted)


def _matched(moved: list[Tensor], known: Known, iou: float) -> Sampled:
    """The regions that still have an extent, with what they stand for where they overlap a truth by at least `iou`."""
    regions, matches, labels = [], [], []
    for own, truth, label in zip(moved, known.boxes, known.labels, strict=True):
        whole = own[not_smaller_than(own, 1e-3)]
        match = match_boxes(box_iou(truth, whole), iou, iou, rescue=False)
        known_rows = (match >= 0).nonzero()[:, 0]
        stands_for = label.new_zeros(len(whole))
        stands_for[known_rows] = label[match[known_rows]]
        regions.append(whole)
        matches.append(match)
        labels.append(stands_for)
    return Sampled(regions, matches, labels)


def _member(parts: nn.Module, stage: int) -> nn.Module:
    assert isinstance(parts, nn.ModuleList)
    return parts[stage]
