"""Features of boxes from a pyramid (He et al. 2017, RoIAlign; Lin et al. 2017, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from everymask.models.specs.regions import RegionProfile
from everymask.models.tracing import numbers, tracing

_STRIDES = (4, 8, 16, 32)


def pyramid_levels(boxes: Tensor, image_size: tuple[int, int], profile: RegionProfile) -> Tensor:
    """Which of P2-P5 (0-3) each box [N, 4] belongs to: a 224 pixel box to P4, half the side one level finer."""
    sides = boxes[:, 2:] - boxes[:, :2]
    root = torch.sqrt(sides.prod(dim=1))
    match profile.roi_level:
        case "torchvision":
            level = torch.floor(4 + torch.log2(root / 224) + 1e-6)
        case "detectron2":
            level = torch.floor(4 + torch.log2(root / 224 + 1e-8))
        case "mmdet":
            level = torch.floor(torch.log2(root / 56 + 1e-6)) + 2
        case "matterport":
            height, width = image_size
            normal = torch.sqrt((sides / numbers([width - 1, height - 1], sides)).prod(dim=1))
            level = 4 + torch.round(torch.log2(normal / (224 / (height * width) ** 0.5)))
    return level.clamp(2, 5).to(torch.int64) - 2


class Pooler(Protocol):
    """What cuts boxes out of something."""

    def levels(self, boxes: Tensor) -> Tensor:
        """Which of several maps each box [N, 4] is cut out of, [N]."""

    def pool(self, boxes: Tensor, image_index: Tensor, size: int) -> Tensor:
        """Features [N, C, size, size] of boxes [N, 4] in the network's frame; `image_index` [N] says whose."""


@dataclass(frozen=True, slots=True)
class RegionPooler:
    """Cuts boxes out of the maps P2-P5, or the coarsest of these, of padded pictures of `image_size` (H, W)."""

    maps: list[Tensor]
    image_size: tuple[int, int]
    profile: RegionProfile
    rows: Tensor | None
    """Every pixel of every map, [P, C]; for the CPU, where pooling reads it."""

    def levels(self, boxes: Tensor) -> Tensor:
        """Which of the maps each box [N, 4] is cut out of, [N]."""
        return (pyramid_levels(boxes, self.image_size, self.profile) - (len(_STRIDES) - len(self.maps))).clamp(min=0)

    def pool(self, boxes: Tensor, image_index: Tensor, size: int) -> Tensor:
        """Features [N, C, size, size] of boxes [N, 4] in the network's frame; `image_index` [N] says whose."""
        profile, levels = self.profile, self.levels(boxes)
        if profile.roi_ends == "pixel":
            boxes = boxes - boxes.new_tensor([0, 0, 1, 1])
        if profile.roi_align == "crop-and-resize":
            shapes = torch.stack([numbers(x.shape[-2:], boxes) for x in self.maps])[levels]
            rois = _crop_and_resize_boxes(boxes, shapes, size, self.image_size)
            ratio, aligned = 1, True
        else:
            rois = boxes / boxes.new_tensor(_STRIDES[-len(self.maps) :])[levels][:, None]
            ratio, aligned = profile.roi_sampling_ratio, profile.roi_align == "aligned"
        if self.rows is not None and ratio and profile.roi_align != "max":
            return self._align_by_rows(self.rows, rois, image_index, levels, size, ratio, aligned=aligned)
        # float32: torchvision's GPU kernel knows no bfloat16, which also has too few digits for places in a map.
        indexed = torch.cat([image_index[:, None].to(rois.dtype), rois], dim=1)
        chosen = [(levels == level).nonzero()[:, 0] for level in range(len(self.maps))]
        cut = partial(roi_align, sampling_ratio=ratio or -1, aligned=aligned)
        if profile.roi_align == "max":
            cut = roi_pool
        parts = [cut(x.float(), indexed[rows], size, 1.0) for x, rows in zip(self.maps, chosen, strict=True)]
        return torch.cat(parts)[torch.cat(chosen).argsort()].to(self.maps[0].dtype)

    def _align_by_rows(
        self, table: Tensor, rois: Tensor, image_index: Tensor, levels: Tensor, size: int, ratio: int, *, aligned: bool
    ) -> Tensor:
        """RoIAlign as sums of weighted rows of one table.

        torchvision's CPU kernel takes several times as long, and its backward pass runs on one thread.
        """
        heights, widths = (torch.tensor([x.shape[axis] for x in self.maps])[levels] for axis in (2, 3))
        begins = torch.tensor([0, *(len(x) * x.shape[2] * x.shape[3] for x in self.maps)]).cumsum(0)[levels]
        low, extent = rois[:, :2], rois[:, 2:] - rois[:, :2]
        low, extent = (low - 0.5, extent) if aligned else (low, extent.clamp(min=1))
        xs, across = _axis_samples(low[:, 0], extent[:, 0], size, ratio, widths)
        ys, down = _axis_samples(low[:, 1], extent[:, 1], size, ratio, heights)
        begins = begins + image_index * heights * widths
        # [N, size, size, samples of y, samples of x]
        rows = (begins[:, None, None] + ys * widths[:, None, None])[:, :, None, :, None] + xs[:, None, :, None, :]
        weights = down[:, :, None, :, None] * across[:, None, :, None, :]
        samples = (2 * ratio) ** 2
        pooled = F.embedding_bag(
            rows.reshape(-1, samples),
            table,
            per_sample_weights=weights.reshape(-1, samples).to(table.dtype),
            mode="sum",
        )
        return pooled.view(-1, size, size, table.shape[1]).permute(0, 3, 1, 2)


def build_pooler(maps: list[Tensor], image_size: tuple[int, int], profile: RegionProfile) -> RegionPooler:
    """A pooler over maps [B, C, h, w]: P2-P5, or the coarsest of these."""
    rows = None
    if maps[0].device.type == "cpu" and not tracing():
        rows = torch.cat([x.permute(0, 2, 3, 1).flatten(0, 2) for x in maps])
        # Gradients of many boxes are added up in it, for which bfloat16 has too few digits.
        rows = rows.float() if rows.requires_grad else rows
    return RegionPooler(maps, image_size, profile, rows)


def _axis_samples(low: Tensor, extent: Tensor, size: int, ratio: int, length: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, the pixels that each bin reads and their weights, both [N, size, 2 * ratio]."""
    shares = (torch.arange(size * ratio) + 0.5) / (size * ratio)
    positions = low[:, None] + shares * extent[:, None]
    inside = (positions >= -1) & (positions <= length[:, None])
    positions = torch.minimum(positions.clamp(min=0), length[:, None] - 1)
    first = positions.floor()
    share = positions - first
    second = torch.minimum(first + 1, length[:, None] - 1)
    weights = torch.stack([1 - share, share], dim=-1) * inside[..., None] / ratio
    pixels = torch.stack([first, second], dim=-1).long()
    return pixels.reshape(-1, size, 2 * ratio), weights.reshape(-1, size, 2 * ratio)


def _crop_and_resize_boxes(boxes: Tensor, shapes: Tensor, size: int, image_size: tuple[int, int]) -> Tensor:
    """Boxes on maps of `shapes` [N, 2] for which RoIAlign with one sample per bin reads where crop_and_resize does."""
    scale = (shapes.flip(1) - 1) / numbers([image_size[1] - 1, image_size[0] - 1], boxes)
    first, last = boxes[:, :2] * scale, boxes[:, 2:] * scale
    half_bin = (last - first) / (size - 1) / 2
    return torch.cat([first - half_bin + 0.5, last + half_bin + 0.5], dim=1)
