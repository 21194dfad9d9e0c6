"""Faster R-CNN and Mask R-CNN on a feature pyramid, parameters named as in torchvision."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from everymask.core.segmentation import InstanceSet, Segmentation
from everymask.models.base import Batch, ClassRows, Network, RegionOutputs
from everymask.models.blocks.encoders import build_encoder
from everymask.models.blocks.pyramid import PyramidBackbone
from everymask.models.regions.boxes import (
    box_iou,
    clip_boxes,
    decode_boxes,
    frames,
    not_smaller_than,
    suppress,
)
from everymask.models.regions.mask_targets import mask_targets
from everymask.models.regions.matching import BACKGROUND, match_boxes, sample_boxes
from everymask.models.regions.roi_align import Pooler, build_pooler
from everymask.models.regions.roi_heads import (
    BOX_SIDE,
    MASK_SIDE,
    BoxPredictor,
    MaskPredictor,
    box_losses,
    build_box_head,
    build_mask_head,
    head_norm,
    mask_loss,
)
from everymask.models.regions.rpn import RegionProposalNetwork
from everymask.models.regions.samples import Known, Sampled, image_index
from everymask.models.regions.steps import LookedAt, anchor_steps, region_steps
from everymask.models.regions.truths import trainable
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, Weighted
from everymask.models.steps import AnchorSteps, Steps, feature_map

Module = TypeVar("Module", bound=nn.Module)
_LATE = 100


class RCNN(Network):
    """Pictures to detections; a `MaskRCNN` spec adds the mask head.

    Predicts in the network's frame: `everymask.infer` brings results back to the picture.
    """

    spec: FasterRCNN
    encoder_prefix = "backbone.body."
    small_maps: tuple[str, ...] = ("roi_heads",)
    one_by_one = True

    def __init__(self, spec: FasterRCNN, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes
        body = build_encoder(
            spec.encoder,
            spec.channels,
            spec.norm,
            spec.profile,
            stages=spec.fpn_stages,
            pretrained=pretrained_encoder,
        )
        fpn_norm = head_norm(spec) if spec.fpn_norm else None
        frozen = spec.norm == "frozen"
        self.backbone: PyramidBackbone = PyramidBackbone(
            body, spec.fpn_channels, fpn_norm, frozen=frozen, bottom_up=spec.fpn_bottom_up
        )
        self.rpn: RegionProposalNetwork = RegionProposalNetwork(spec)
        self.roi_heads: nn.ModuleDict = nn.ModuleDict(
            {"box_head": build_box_head(spec), "box_predictor": BoxPredictor(spec.box_fcs[-1], num_classes)}
        )
        if isinstance(spec, MaskRCNN):
            self.roi_heads["mask_head"] = build_mask_head(spec)
            self.roi_heads["mask_predictor"] = MaskPredictor(spec.mask_convs[-1], spec.mask_channels, num_classes)

    def forward(self, images: Tensor, windows: Tensor | None = None) -> RegionOutputs:
        """Detect in pictures [B, C, H, W]; `windows` [B, 4] xyxy are the pictures without their padding (None: all)."""
        return self.detect(self.maps(images), images, windows)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps of the pyramid that regions are cut out of, the finest first."""
        maps: list[Tensor] = self.backbone(images.to(self.backbone.dtype))
        return maps

    def detect(self, maps: list[Tensor], images: Tensor, windows: Tensor | None) -> RegionOutputs:
        """`forward`, of pictures whose `maps` of the pyramid are there already."""
        windows = frames(images) if windows is None else windows.to(images.device)
        return self.look_at(self.proposals(maps, images, windows), maps, images, windows).found

    def proposals(self, maps: list[Tensor], images: Tensor, windows: Tensor) -> list[Tensor]:
        """Boxes [P, 4] of each picture in which there may be objects, the most promising first."""
        logits, deltas, anchors = self.rpn(maps, (images.shape[2], images.shape[3]))
        limits = self._proposal_limits(images, windows)
        return self.rpn.propose(logits, deltas, anchors, limits, training=False)

    def look_at(self, proposals: list[Tensor], maps: list[Tensor], images: Tensor, windows: Tensor) -> LookedAt:
        """What becomes of each picture's `proposals` [P, 4]."""
        pooler = self._pooler(maps, images)
        scores, boxes = self._judged(pooler, proposals, windows)
        found, rows = self._select(scores, boxes, [picture.shape[0] for picture in proposals])
        own = None
        if isinstance(self.spec, MaskRCNN):
            own = self._mask_logits(pooler, found.boxes, found.image_index, found.class_ids + 1)
        exclusive = found.boxes + self._far_corner(found.boxes)
        return LookedAt(scores, boxes, rows, replace(found, boxes=exclusive, mask_logits=own))

    def look_into(self, images: Tensor, windows: Tensor, truth: Segmentation | None = None) -> Steps:
        """The pyramid, anchors, proposals and detections; of a truth the objects that a training learns from."""
        objects = None if truth is None else trainable(truth, "", masks=False)
        return self.steps_of(self.maps(images), images, windows, objects)

    def steps_of(self, maps: list[Tensor], images: Tensor, windows: Tensor, truth: InstanceSet | None) -> Steps:
        """`look_into`, of a picture whose `maps` of the pyramid are there already."""
        frame = (images.shape[2], images.shape[3])
        proposals, anchors = self._anchored(maps, images, windows, truth)
        seen = self.look_at([proposals], maps, images, windows)
        pooled = self._pooler(maps, images)
        return Steps(
            tuple(feature_map(f"P{2 + level}", plane, frame) for level, plane in enumerate(maps)),
            anchors=anchors,
            regions=region_steps(proposals, seen, pooled.levels(seen.found.boxes), self.found_classes, truth),
        )

    def _anchored(
        self, maps: list[Tensor], images: Tensor, windows: Tensor, truth: InstanceSet | None
    ) -> tuple[Tensor, AnchorSteps | None]:
        """The proposals [P, 4] of one picture, and how anchors became these."""
        logits, deltas, anchors = self.rpn(maps, (images.shape[2], images.shape[3]))
        limits = self._proposal_limits(images, windows)
        found = self.rpn.candidates(logits, deltas, anchors, limits, training=False)
        (kept,) = self.rpn.surviving(found, training=False)
        known = None
        if truth is not None:
            known = torch.tensor(truth.boxes, dtype=torch.float32, device=images.device)
            known = known - self._far_corner(known)
        steps = anchor_steps(maps, self.spec.strides, logits, anchors, found, kept, known)
        return found.boxes[0, kept], steps

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The paper's losses: objectness and box of the RPN, class, box and mask of the sampled regions."""
        return self.region_losses(self.maps(batch.images), batch, generator)

    def region_losses(
        self, maps: list[Tensor], batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """`loss`, of a batch whose `maps` of the pyramid are there already."""
        images = batch.images
        truths, boxes, labels = self._truths(batch)
        windows = batch.windows.to(images.device)
        proposals, losses = self.proposals_and_losses(maps, images, windows, boxes, generator)
        sampled = self._sample(proposals, boxes, labels, generator)
        known = Known(truths, boxes, labels, windows)
        return losses | self._head_losses(self._pooler(maps, images), sampled, known, generator)

    def _head_losses(
        self, pooler: Pooler, sampled: Sampled, known: Known, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """What the heads lose on the sampled regions; `generator` draws what they draw besides."""
        class_logits, box_deltas = self._classify(pooler, sampled.regions)
        positives = sampled.positives()
        targets = positives.targets(known.boxes, self.spec.profile.box_weights)
        losses = box_losses(class_logits, box_deltas, torch.cat(sampled.labels), targets)
        if isinstance(self.spec, MaskRCNN):
            losses |= self._mask_losses(pooler, positives, known, generator)
        return losses

    def _mask_losses(
        self, pooler: Pooler, positives: Sampled, known: Known, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """What the mask head loses on regions that all have a truth."""
        regions = positives.regions
        planes = self._mask_logits(pooler, torch.cat(regions), image_index(regions), torch.cat(positives.labels))
        wanted = self._mask_targets(known.objects, positives, planes.shape[-1]).to(planes.device)
        return {"loss_mask": mask_loss(planes, wanted)}

    def proposals_and_losses(
        self,
        maps: list[Tensor],
        images: Tensor,
        windows: Tensor,
        boxes: list[Tensor],
        generator: torch.Generator | None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """`proposals` for training, and what they lose against the truth's `boxes` [T, 4] of each picture."""
        logits, deltas, anchors = self.rpn(maps, (images.shape[2], images.shape[3]))
        losses = self.rpn.loss(logits, deltas, anchors, boxes, generator)
        limits = self._proposal_limits(images, windows)
        return self.rpn.propose(logits, deltas, anchors, limits, training=True), losses

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The box predictor."""
        return ("roi_heads.box_predictor",)

    @property
    def has_masks(self) -> bool:
        """Whether it gives masks, or boxes only."""
        return isinstance(self.spec, MaskRCNN)

    @property
    def found_classes(self) -> tuple[int, ...]:
        """The classes that are found one by one, in the order of the predictors' rows."""
        return tuple(range(self.num_classes))

    def class_rows(self) -> ClassRows:
        """Of the box predictor a row and four, of the mask predictor one, for the background and then each class."""
        counts = {"box_predictor.cls_score": 1, "box_predictor.bbox_pred": 4}
        if self.has_masks:
            counts["mask_predictor.mask_fcn_logits"] = 1
        tensors = {f"roi_heads.{layer}.{kind}": rows for layer, rows in counts.items() for kind in ("weight", "bias")}
        return ClassRows(tensors, 1, frozenset({"roi_heads.box_predictor.cls_score.weight"}))

    def sharing(self) -> Self:
        """The same network with the same parts, in which a part can be replaced."""
        return _sharing(self)

    def with_detections(self, most: int) -> RCNN:
        """Up to `most` objects in a picture, and as many proposals as that needs."""
        twin = self.sharing()
        twin.spec, twin.rpn = self.spec.with_detections(most), _sharing(self.rpn)
        twin.rpn.spec = twin.spec
        return twin

    def _proposal_limits(self, images: Tensor, windows: Tensor) -> Tensor:
        """[B, 4] xyxy: what proposals are cut to."""
        return windows if self.spec.profile.proposal_limits == "picture" else frames(images)

    def _far_corner(self, boxes: Tensor) -> Tensor:
        """What to add to boxes [N, 4] so that their far corners are exclusive."""
        return boxes.new_tensor([0, 0, 1, 1] if self.spec.profile.inclusive_boxes else [0, 0, 0, 0])

    def _pooler(self, maps: list[Tensor], images: Tensor) -> Pooler:
        """What cuts regions out of the maps."""
        size = (images.shape[2], images.shape[3])
        return build_pooler(maps[: self.spec.pooled_levels], size, self.spec.profile)

    def _probable(self, logits: Tensor) -> Tensor:
        """Scores of classes from what the predictor says of regions, both [R, 1 + classes]."""
        return logits.softmax(dim=1)

    def _truths(self, batch: Batch) -> tuple[list[InstanceSet], list[Tensor], list[Tensor]]:
        """The objects of each picture that can be learned, their boxes [T, 4], and labels [T] (from 1)."""
        device = batch.images.device
        truths = [
            trainable(truth, file, masks=self.has_masks) for truth, file in zip(batch.truths, batch.files, strict=True)
        ]
        boxes = [torch.tensor(truth.boxes, dtype=torch.float32, device=device) for truth in truths]
        labels = [torch.tensor(truth.class_ids, device=device) + 1 for truth in truths]
        return truths, [box - self._far_corner(box) for box in boxes], labels

    def _sample(
        self, proposals: list[Tensor], boxes: list[Tensor], labels: list[Tensor], generator: torch.Generator | None
    ) -> Sampled:
        """Regions to train on."""
        return self._sample_at(0.5, proposals, boxes, labels, generator)

    def _sample_at(
        self,
        iou: float,
        proposals: list[Tensor],
        boxes: list[Tensor],
        labels: list[Tensor],
        generator: torch.Generator | None,
    ) -> Sampled:
        """Of the proposals and truths of each picture those to train on; they stand for what they overlap by `iou`."""
        regions, matches, region_labels = [], [], []
        for picture_proposals, truth, label in zip(proposals, boxes, labels, strict=True):
            candidates = torch.cat([picture_proposals, truth])
            match = match_boxes(box_iou(truth, candidates), iou, iou, rescue=False)
            positive, negative = sample_boxes(match >= 0, match == BACKGROUND, self.spec.box_samples, 0.25, generator)
            rows = torch.cat([positive, negative])
            regions.append(candidates[rows])
            matches.append(match[rows])
            region_labels.append(torch.cat([label[match[positive]], label.new_zeros(len(negative))]))
        return Sampled(regions, matches, region_labels)

    def _judged(self, pooler: Pooler, proposals: list[Tensor], windows: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [R, 1 + classes] (row 0: background) and boxes [R, 1 + classes, 4] of what is in the `proposals`."""
        class_logits, box_deltas = self._classify(pooler, proposals)
        return self._probable(class_logits), self._refined(box_deltas, proposals, windows)

    def _classify(self, pooler: Pooler, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        pooled = pooler.pool(torch.cat(regions), image_index(regions), BOX_SIDE)
        logits, deltas = self.roi_heads["box_predictor"](self.roi_heads["box_head"](pooled))
        return logits.float(), deltas.float()

    def _mask_logits(self, pooler: Pooler, boxes: Tensor, image_index: Tensor, planes: Tensor) -> Tensor:
        """[N, M, M]: of each box [N, 4] the mask's plane in `planes` [N] (0 background)."""
        features = self.roi_heads["mask_head"](pooler.pool(boxes, image_index, MASK_SIDE))
        predictor = self.roi_heads["mask_predictor"]
        assert isinstance(predictor, MaskPredictor)
        return predictor.own_class(features, planes).float()

    @staticmethod
    def _mask_targets(truths: list[InstanceSet], positives: Sampled, side: int) -> Tensor:
        parts = [
            mask_targets(truth.masks, row.cpu().numpy(), box.cpu().numpy(), side)
            for truth, box, row in zip(truths, positives.regions, positives.matches, strict=True)
            if truth.masks is not None
        ]
        return torch.from_numpy(np.concatenate(parts))

    def _refined(
        self, deltas: Tensor, proposals: list[Tensor], windows: Tensor, weights: Weighted | None = None
    ) -> Tensor:
        """[R, 1 + classes, 4]: the box of each region as each class would have it, cut to its picture. `weights` are
        the factors on deltas, None those of the profile.
        """
        profile = self.spec.profile
        weights = profile.box_weights if weights is None else weights
        boxes = decode_boxes(deltas, torch.cat(proposals)[:, None], weights, clamp=profile.clamp_growth)
        parts = boxes.split([picture.shape[0] for picture in proposals])
        inclusive, least = profile.inclusive_boxes, profile.least_side
        pairs = zip(parts, windows, strict=True)
        cut = [clip_boxes(part, window, inclusive=inclusive, least=least) for part, window in pairs]
        return torch.cat(cut)

    def _select(self, scores: Tensor, boxes: Tensor, counts: list[int]) -> tuple[RegionOutputs, Tensor]:
        """Detections from scored regions, and the region [K] of each: threshold, suppression per class, the surest of
        each picture, which has `counts` of the regions.
        """
        pairs = zip(scores.split(counts), boxes.split(counts), strict=True)
        found = [self._select_in_picture(*pair) for pair in pairs]
        pictures = image_index([picture[0] for picture in found])
        kept_boxes, class_ids, kept_scores, cut, _ = (torch.cat(column) for column in zip(*found, strict=True))
        starts = itertools.accumulate(counts, initial=0)
        rows = torch.cat([own[4] + start for own, start in zip(found, starts, strict=False)])
        paste = self.spec.profile.mask_paste
        return RegionOutputs(kept_boxes, class_ids, kept_scores, None, pictures, paste, cut), rows

    def _select_in_picture(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Boxes, class ids and scores of what is found, the score [1] of the surest that may be missing, and the region
        of each that is found.
        """
        spec = self.spec
        wanted = scores[:, 1:] > spec.score_threshold
        if spec.profile.class_choice == "argmax":
            best = scores.argmax(dim=1, keepdim=True)
            wanted &= best == torch.arange(1, scores.shape[1], device=scores.device)
        rows, class_ids = wanted.nonzero().unbind(1)
        count = scores.shape[0]
        crowded = scores.new_ones(count).sum() >= spec.rpn_post_nms[1]
        late = (rows >= count - count // 4) & crowded
        boxes, scores = boxes[rows, class_ids + 1], scores[rows, class_ids + 1]
        whole = not_smaller_than(boxes, 1e-2).nonzero()[:, 0]
        boxes, scores, class_ids, late, rows = (each[whole] for each in (boxes, scores, class_ids, late, rows))
        distinct = suppress(boxes, scores, class_ids, spec.nms, boxes.shape[0])
        keep, missing = distinct[: spec.max_detections], distinct[spec.max_detections :][:1]
        missing = torch.cat([missing, _only_late(boxes, class_ids, late, distinct, spec.nms)])
        cut = torch.cat([scores[missing], scores.new_zeros(1)]).amax(dim=0, keepdim=True)
        return boxes[keep], class_ids[keep], scores[keep], cut, rows[keep]


def _only_late(boxes: Tensor, class_ids: Tensor, late: Tensor, distinct: Tensor, iou: float) -> Tensor:
    """Of the detections `distinct` (rows, surest first) those that only the last quarter of the proposals has found.

    Where there are some, more proposals would probably have found more. `late` [N] tells which boxes [N, 4] are of that
    quarter. Of its detections the surest 100 are looked at.
    """
    rows = distinct[late[distinct].nonzero()[:, 0]][:_LATE]
    early = (~late).nonzero()[:, 0]
    # With one more that is like none, for there may be none.
    others = torch.cat([boxes[early], boxes.new_zeros(1, 4)])
    same = class_ids[rows][:, None] == torch.cat([class_ids[early], class_ids.new_full((1,), -1)])
    found_before = ((box_iou(boxes[rows], others) > iou) & same).any(dim=1)
    return rows[(~found_before).nonzero()[:, 0]]


def _sharing(module: Module) -> Module:
    """The same module with the same parts, in which a part can be replaced."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin
