"""Features of boxes from a pyramid (He et al. 2017, RoIAlign; Lin et al. 2017, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from everymask.models.specs import RegionProfile

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
            normal = torch.sqrt((sides / sides.new_tensor([width - 1, height - 1])).prod(dim=1))
            level = 4 + torch.round(torch.log2(normal / (224 / (height * width) ** 0.5)))
    return level.clamp(2, 5).to(torch.int64) - 2


def pool_regions(
    maps: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    size: int,
    image_size: tuple[int, int],
    profile: RegionProfile,
) -> Tensor:
    """Features [N, C, size, size] of boxes [N, 4] in the network's frame, from P2-P5; `image_index` [N] says whose."""
    levels = pyramid_levels(boxes, image_size, profile)
    rois = torch.cat([image_index[:, None].to(boxes.dtype), boxes], dim=1)
    pooled = maps[0].new_zeros((len(boxes), maps[0].shape[1], size, size))
    for level, (x, stride) in enumerate(zip(maps, _STRIDES, strict=True)):
        rows = (levels == level).nonzero()[:, 0]
        if len(rows) or torch.is_grad_enabled():
            pooled = pooled.index_copy(0, rows, _align(x, rois[rows], size, stride, image_size, profile))
    return pooled


def _align(
    x: Tensor, rois: Tensor, size: int, stride: int, image_size: tuple[int, int], profile: RegionProfile
) -> Tensor:
    if profile.roi_align == "crop-and-resize":
        rois = _crop_and_resize_boxes(rois, x, size, image_size)
        return roi_align(x, rois.to(x.dtype), size, 1.0, sampling_ratio=1, aligned=True)
    ratio = profile.roi_sampling_ratio if profile.roi_sampling_ratio else -1
    aligned = profile.roi_align == "aligned"
    return roi_align(x, rois.to(x.dtype), size, 1 / stride, sampling_ratio=ratio, aligned=aligned)


def _crop_and_resize_boxes(rois: Tensor, x: Tensor, size: int, image_size: tuple[int, int]) -> Tensor:
    """Boxes for which RoIAlign with one sample per bin reads where TensorFlow's crop_and_resize does."""
    height, width = x.shape[-2:]
    scale = rois.new_tensor([(width - 1) / (image_size[1] - 1), (height - 1) / (image_size[0] - 1)])
    first, last = rois[:, 1:3] * scale, rois[:, 3:5] * scale
    half_bin = (last - first) / (size - 1) / 2
    return torch.cat([rois[:, :1], first - half_bin + 0.5, last + half_bin + 0.5], dim=1)
