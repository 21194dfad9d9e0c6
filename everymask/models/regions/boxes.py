"""Boxes as networks see them: anchors, regression coding, overlap, suppression. All boxes are xyxy."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from everymask.models.specs.regions import FasterRCNN, RegionProfile
from everymask.models.tracing import numbers, tracing

_MAX_GROWTH = math.log(1000.0 / 16)


def base_anchors(sizes: tuple[float, ...], ratios: tuple[float, ...], profile: RegionProfile) -> Tensor:
    """[A, 4] anchors of one pyramid level around the origin: for each aspect ratio one of each area `size`**2."""
    root = torch.sqrt(torch.tensor(ratios))
    heights, widths = (root, 1 / root) if profile.anchor_ratio == "h/w" else (1 / root, root)
    sides = torch.tensor(sizes, dtype=torch.float32)
    heights, widths = (torch.outer(factors, sides).flatten() for factors in (heights, widths))
    anchors = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return anchors.round() if profile.anchor_rounding else anchors


def cell_anchors(sizes: tuple[float, ...], ratios: tuple[float, ...], stride: int) -> Tensor:
    """[A, 4] anchors in the middle of a cell of `stride` pixels: of its square the sides at each ratio (h/w), rounded,
    and then as many times larger as `size` is than the stride.
    """
    widths = torch.sqrt(stride**2 / torch.tensor(ratios, dtype=torch.float64)).round()
    heights = (widths * torch.tensor(ratios, dtype=torch.float64)).round()
    factors = torch.tensor(sizes, dtype=torch.float64) / stride
    half = torch.stack([torch.outer(side, factors).flatten() for side in (widths, heights)], dim=1) / 2
    return torch.cat([stride / 2 - half, stride / 2 + half], dim=1).float()


def anchors_for(maps: list[Tensor], image_size: tuple[int, int], spec: FasterRCNN) -> list[Tensor]:
    """Anchors of each level, [h * w * A, 4]: row after row, at each place all ratios, of each ratio all sizes."""
    profile = spec.profile
    sizes = [spec.anchor_sizes] * len(maps) if spec.shared_anchor_sizes else [(size,) for size in spec.anchor_sizes]
    levels = []
    for x, own_sizes, nominal in zip(maps, sizes, spec.strides, strict=True):
        height, width = x.shape[-2:]
        step_y, step_x = nominal, nominal
        if profile.anchor_stride == "image/feature":
            step_y, step_x = image_size[0] // height, image_size[1] // width
        ys = torch.arange(height, device=x.device) * step_y
        xs = torch.arange(width, device=x.device) * step_x
        centre_y, centre_x = torch.meshgrid(ys, xs, indexing="ij")
        centres = torch.stack([centre_x, centre_y, centre_x, centre_y], dim=-1).reshape(-1, 1, 4)
        if profile.anchor_origin == "cell":
            base = cell_anchors(own_sizes, spec.anchor_ratios, nominal)
        else:
            base = base_anchors(own_sizes, spec.anchor_ratios, profile)
        anchors = (centres + base.to(x.device)).reshape(-1, 4)
        if profile.inclusive_boxes:
            anchors = anchors - anchors.new_tensor([0, 0, 1, 1])
        levels.append(anchors)
    return levels


def encode_boxes(boxes: Tensor, references: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Regression targets (dx, dy, dw, dh) [N, 4] that turn `references` [N, 4] into `boxes` [N, 4] (Girshick 2014)."""
    size, centre = _size_and_centre(boxes)
    ref_size, ref_centre = _size_and_centre(references)
    shift = (centre - ref_centre) / ref_size
    growth = torch.log(size / ref_size)
    return torch.cat([shift, growth], dim=-1) * boxes.new_tensor(weights)


def decode_boxes(deltas: Tensor, references: Tensor, weights: tuple[float, ...], *, clamp: bool = True) -> Tensor:
    """Boxes [..., 4] from deltas [..., 4] and references that broadcast against them; the inverse of `encode_boxes`."""
    ref_size, ref_centre = _size_and_centre(references)
    deltas = deltas / deltas.new_tensor(weights)
    growth = deltas[..., 2:].clamp(max=_MAX_GROWTH) if clamp else deltas[..., 2:]
    centre = deltas[..., :2] * ref_size + ref_centre
    half = 0.5 * (torch.exp(growth) * ref_size)
    return torch.cat([centre - half, centre + half], dim=-1)


def _size_and_centre(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return size, boxes[..., :2] + 0.5 * size


def clip_boxes(boxes: Tensor, window: Tensor, *, inclusive: bool = False, least: int = 0) -> Tensor:
    """Boxes [..., 4] cut to a window (x1, y1, x2, y2) that broadcasts; inclusive far corners end at x2 - 1, y2 - 1.

    Of what lies outside `least` pixels at the window's edge are left.
    """
    near, far = window.to(boxes).split(2, dim=-1)
    far = far - (1 if inclusive else 0)
    low, high = torch.cat([near, near + least], dim=-1), torch.cat([far - least, far], dim=-1)
    return torch.minimum(torch.maximum(boxes, low), high)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap [N, M] of every box of a [N, 4] with every box of b [M, 4]: intersection over union."""
    corner = torch.maximum(a[:, None, :2], b[:, :2])
    inter = (torch.minimum(a[:, None, 2:], b[:, 2:]) - corner).clamp(min=0).prod(dim=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(dim=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(dim=1)
    return inter / (area_a[:, None] + area_b - inter)


def paired_iou(one: Tensor, other: Tensor) -> Tensor:
    """[P]: how much each box of `one` [P, 4] overlaps with the same row of `other` [P, 4]."""
    corner = torch.maximum(one[:, :2], other[:, :2])
    shared = (torch.minimum(one[:, 2:], other[:, 2:]) - corner).clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (one, other)]
    return shared / (areas[0] + areas[1] - shared + 1e-16)


def not_smaller_than(boxes: Tensor, side: float) -> Tensor:
    """True [N] where width and height are both at least `side`."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= side).all(dim=1)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, most: int) -> Tensor:
    """Rows that survive greedy non-maximum suppression within each group, surest first, at most `most`."""
    if tracing():
        # One of the two ways that batched_nms takes, by the number of boxes: groups are moved apart.
        beyond = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
        return nms(boxes + (groups * beyond)[:, None], scores, threshold)[:most]
    return batched_nms(boxes, scores, groups, threshold)[:most]


def frames(images: Tensor) -> Tensor:
    """[B, 4] xyxy: the whole of each picture, padding included."""
    like = torch.zeros((), dtype=torch.int64, device=images.device)
    return numbers([0, 0, images.shape[3], images.shape[2]], like).expand(images.shape[0], 4)
