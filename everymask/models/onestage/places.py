"""The places of the three maps, each of which can say that an object is there, and the objects that are then given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from everymask.models.base import RegionOutputs
from everymask.models.regions.boxes import clip_boxes, not_smaller_than, suppress
from everymask.models.specs.onestage import OneStageSpec

STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Places:
    """N places, map after map, each row after row: `corners` [N, 2] xy in pixels of the frame, `strides` [N]."""

    corners: Tensor
    strides: Tensor

    @property
    def centres(self) -> Tensor:
        """The middles of their cells, [N, 2] xy."""
        return self.corners + 0.5 * self.strides[:, None]


def places_of(maps: list[Tensor]) -> Places:
    """The places of maps [B, C, h, w] at strides 8, 16 and 32."""
    corners, strides = [], []
    for x, stride in zip(maps, STRIDES, strict=True):
        ys = torch.arange(x.shape[2], device=x.device, dtype=torch.float32)
        xs = torch.arange(x.shape[3], device=x.device, dtype=torch.float32)
        row, column = torch.meshgrid(ys, xs, indexing="ij")
        corners.append(torch.stack([column, row], dim=-1).reshape(-1, 2) * stride)
        strides.append(torch.full_like(corners[-1][:, 0], stride))
    return Places(torch.cat(corners), torch.cat(strides))


def flat(maps: list[Tensor]) -> Tensor:
    """Maps [B, C, h, w] as the values of their places [B, N, C], float32."""
    return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2).float()


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be given of one picture: `boxes` [K, 4] xyxy, `scores` [K], `class_ids` [K], and the `places` [K] that
    say so. `left_out` [L] are scores of candidates beyond a limit.
    """

    boxes: Tensor
    scores: Tensor
    class_ids: Tensor
    places: Tensor
    left_out: Tensor


def settle(candidates: list[Candidates], windows: Tensor, spec: OneStageSpec) -> tuple[RegionOutputs, list[Tensor]]:
    """Of each picture's candidates those that no surer one suppresses, and the places [K] that found them.

    Boxes are cut to the windows [B, 4] xyxy of the pictures.
    """
    boxes, class_ids, scores, index, cuts, places = [], [], [], [], [], []
    for picture, (found, window) in enumerate(zip(candidates, windows, strict=True)):
        inside = clip_boxes(found.boxes, window)
        distinct = suppress(found.boxes, found.scores, found.class_ids, spec.nms, found.boxes.shape[0])
        distinct = distinct[not_smaller_than(inside[distinct], 1e-2).nonzero()[:, 0]]
        keep, missing = distinct[: spec.max_detections], distinct[spec.max_detections :][:1]
        boxes.append(inside[keep])
        class_ids.append(found.class_ids[keep])
        scores.append(found.scores[keep])
        places.append(found.places[keep])
        index.append(found.class_ids.new_full((keep.shape[0],), picture))
        lost = torch.cat([found.scores[missing], found.left_out, found.scores.new_zeros(1)])
        cuts.append(lost.amax(dim=0, keepdim=True))
    outputs = RegionOutputs(
        torch.cat(boxes),
        torch.cat(class_ids),
        torch.cat(scores),
        None,
        torch.cat(index),
        "torchvision",
        torch.cat(cuts),
    )
    return outputs, places
