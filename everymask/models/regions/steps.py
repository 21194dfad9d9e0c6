"""What a detector makes of one picture, step by step, in arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from everymask.core.arrays import IntArray
from everymask.core.segmentation import InstanceSet
from everymask.models.base import RegionOutputs
from everymask.models.regions.boxes import box_iou
from everymask.models.regions.mask_targets import mask_targets
from everymask.models.regions.matching import match_boxes
from everymask.models.regions.rpn import Candidates, match_anchors
from everymask.models.steps import AnchorLevel, AnchorSteps, RegionSteps, array, numbers

_MATCHED = 0.5


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What became of R regions of a batch.

    `scores` [R, 1 + classes] (row 0: background), `boxes` [R, 1 + classes, 4] as each class moves the region, and what
    was `found`, whose detections are made of the regions `rows` [K].
    """

    scores: Tensor
    boxes: Tensor
    rows: Tensor
    found: RegionOutputs


def anchor_steps(
    maps: list[Tensor],
    strides: tuple[int, ...],
    logits: Tensor,
    anchors: list[Tensor],
    found: Candidates,
    kept: Tensor,
    truth: Tensor | None,
) -> AnchorSteps:
    """The steps of the first picture: of `logits` [B, N], the `anchors` of each level, what was `found` among them, and
    which of it was `kept`; `truth` are boxes [T, 4].
    """
    matches = None if truth is None else numbers(match_anchors(truth, torch.cat(anchors)))
    pyramid, start = [], 0
    for plane, stride, own in zip(maps, strides, anchors, strict=True):
        part = slice(start, start + len(own))
        start += len(own)
        size = (plane.shape[2], plane.shape[3])
        objectness = array(logits[0, part].sigmoid())
        pyramid.append(AnchorLevel(stride, size, array(own), objectness, None if matches is None else matches[part]))
    ends = torch.tensor([len(own) for own in anchors]).cumsum(0)
    levels = torch.bucketize(found.anchors[0].cpu(), ends, right=True)
    return AnchorSteps(tuple(pyramid), array(found.boxes[0]), array(found.scores[0]), numbers(levels), numbers(kept))


def region_steps(
    proposals: Tensor, seen: LookedAt, levels: Tensor, classes: tuple[int, ...], truth: InstanceSet | None
) -> RegionSteps:
    """The steps of one picture: of its `proposals` [P, 4] and what was `seen` there.

    `levels` [D] are those of the pyramid that detections are cut out of, `classes` [K] what the rows stand for.
    """
    found = seen.found
    masks = None if found.mask_logits is None else array(found.mask_logits.sigmoid())
    matches = None if truth is None else _matches(found.boxes, truth)
    targets = None
    if masks is not None and truth is not None and truth.masks is not None and matches is not None:
        targets = np.zeros_like(masks)
        hit = np.flatnonzero(matches >= 0)
        targets[hit] = mask_targets(truth.masks, matches[hit], array(found.boxes)[hit], masks.shape[-1])
    return RegionSteps(
        proposals=array(proposals),
        class_scores=array(seen.scores),
        moved=array(seen.boxes),
        boxes=array(found.boxes),
        class_ids=numbers(found.class_ids),
        scores=array(found.scores),
        rows=numbers(seen.rows),
        levels=numbers(levels),
        masks=masks,
        classes=classes,
        truth=None if truth is None else truth.boxes.astype(np.float32),
        matches=matches,
        targets=targets,
    )


def _matches(boxes: Tensor, truth: InstanceSet) -> IntArray:
    known = torch.tensor(truth.boxes, dtype=torch.float32)
    return numbers(match_boxes(box_iou(known, boxes.cpu()), _MATCHED, _MATCHED, rescue=False))
