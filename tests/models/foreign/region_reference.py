"""Detectron2's Mask R-CNN, calculated from its tensors by plain functions: what its weights mean, apart from our code.

Written from the description of its behaviour: frozen norms, strides in the 1x1 convolutions, unrounded anchors at
fixed strides, RoIAlign with the half-pixel shift and adaptive sampling, background in the last row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

STRIDES = (4, 8, 16, 32, 64)


def detectron2_level(boxes: Tensor) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.floor(4 + torch.log2(sides.prod(1).sqrt() / 224 + 1e-8)).clamp(2, 5).long() - 2


def mmdetection_level(boxes: Tensor) -> Tensor:
    scale = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return torch.floor(torch.log2(scale / 56 + 1e-6)).clamp(0, 3).long()


class Reference:
    """Detections of one picture [1, 3, H, W], normalised, blue first, whose first `inside` (h, w) are no padding."""

    epsilon = 1e-5

    def __init__(
        self, tensors: Mapping[str, Tensor], *, stride_in_1x1: bool, level: Callable[[Tensor], Tensor], threshold: float
    ) -> None:
        self.tensors, self.stride_in_1x1, self.level, self.threshold = tensors, stride_in_1x1, level, threshold

    def __call__(self, image: Tensor, inside: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes, classes, scores, and logits of masks."""
        maps = self.pyramid(image)
        boxes, classes, scores = self.detections(maps, self.proposals(maps, inside), inside)
        return boxes, classes, scores, self.masks(maps, boxes, classes)

    def conv(self, x: Tensor, name: str, **options: int) -> Tensor:
        x = F.conv2d(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), **options)
        if f"{name}.norm.weight" not in self.tensors:
            return x
        w, b, mean, var = (
            self.tensors[f"{name}.norm.{kind}"][:, None, None]
            for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / (var + self.epsilon).sqrt() * w + b

    def pyramid(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.conv(image, "backbone.bottom_up.stem.conv1", stride=2, padding=3).relu(), 3, 2, 1)
        ends = []
        for stage in range(2, 6):
            block = 0
            while (name := f"backbone.bottom_up.res{stage}.{block}") + ".conv1.weight" in self.tensors:
                stride = 2 if stage > 2 and block == 0 else 1
                first, second = (stride, 1) if self.stride_in_1x1 else (1, stride)
                out = self.conv(x, f"{name}.conv1", stride=first).relu()
                groups = out.shape[1] // self.tensors[f"{name}.conv2.weight"].shape[1]
                out = self.conv(out, f"{name}.conv2", stride=second, padding=1, groups=groups).relu()
                out = self.conv(out, f"{name}.conv3")
                x = (out + (self.conv(x, f"{name}.shortcut", stride=stride) if block == 0 else x)).relu()
                block += 1
            ends.append(x)
        above, maps = None, []
        for level in range(5, 1, -1):
            lateral = self.conv(ends[level - 2], f"backbone.fpn_lateral{level}")
            above = lateral if above is None else lateral + F.interpolate(above, scale_factor=2, mode="nearest")
            maps.insert(0, self.conv(above, f"backbone.fpn_output{level}", padding=1))
        return [*maps, maps[-1][..., ::2, ::2]]

    def proposals(self, maps: list[Tensor], inside: tuple[int, int]) -> Tensor:
        head, kept = "proposal_generator.rpn_head", []
        for place, (x, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            features = self.conv(x, f"{head}.conv", padding=1).relu()
            scores = self.conv(features, f"{head}.objectness_logits")[0].permute(1, 2, 0).flatten()
            deltas = self.conv(features, f"{head}.anchor_deltas")[0].permute(1, 2, 0).reshape(-1, 4)
            boxes = decoded(deltas, anchors(x.shape[-2:], stride, 8.0 * stride))
            top = scores.sort(descending=True).indices[:1000]
            kept.append((boxes[top], scores[top], torch.full_like(top, place)))
        boxes, scores, levels = (torch.cat(column) for column in zip(*kept, strict=True))
        boxes = clipped(boxes, inside)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores, levels = boxes[whole], scores[whole], levels[whole]
        return boxes[batched_nms(boxes, scores, levels, 0.7)[:1000]]

    def pooled(self, maps: list[Tensor], boxes: Tensor, side: int) -> Tensor:
        levels = self.level(boxes)
        out = maps[0].new_zeros(len(boxes), maps[0].shape[1], side, side)
        for place in range(4):
            rows = (levels == place).nonzero()[:, 0]
            out[rows] = roi_align(maps[place], [boxes[rows]], side, 1 / STRIDES[place], 0, aligned=True)
        return out

    def detections(self, maps: list[Tensor], boxes: Tensor, inside: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pooled(maps, boxes, 7).flatten(1)
        for layer in ("fc1", "fc2"):
            x = F.linear(
                x, self.tensors[f"roi_heads.box_head.{layer}.weight"], self.tensors[f"roi_heads.box_head.{layer}.bias"]
            ).relu()
        logits, deltas = (
            F.linear(
                x,
                self.tensors[f"roi_heads.box_predictor.{part}.weight"],
                self.tensors[f"roi_heads.box_predictor.{part}.bias"],
            )
            for part in ("cls_score", "bbox_pred")
        )
        scores = logits.softmax(1)[:, :-1]
        each = decoded(
            deltas.view(len(boxes), -1, 4) / torch.tensor([10.0, 10, 5, 5]),
            boxes[:, None].expand(-1, scores.shape[1], -1),
        )
        rows, classes = (scores > self.threshold).nonzero().unbind(1)
        found, sure = clipped(each[rows, classes], inside), scores[rows, classes]
        keep = batched_nms(found, sure, classes, 0.5)[:100]
        return found[keep], classes[keep], sure[keep]

    def masks(self, maps: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
        x = self.pooled(maps, boxes, 14)
        for k in range(1, 5):
            x = self.conv(x, f"roi_heads.mask_head.mask_fcn{k}", padding=1).relu()
        deconv = "roi_heads.mask_head.deconv"
        x = F.conv_transpose2d(x, self.tensors[f"{deconv}.weight"], self.tensors[f"{deconv}.bias"], stride=2).relu()
        return self.conv(x, "roi_heads.mask_head.predictor")[torch.arange(len(classes)), classes]


class CascadeReference(Reference):
    """With three box heads, whose boxes all classes share, and one mask head or as many."""

    mmdetection = False

    def detections(self, maps: list[Tensor], boxes: Tensor, inside: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        said = []
        for stage, factor in enumerate(
            ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067) if self.mmdetection else (1 / 30, 1 / 15))
        ):
            x = self.pooled(maps, boxes, 7).flatten(1)
            for layer in ("fc1", "fc2"):
                x = self.linear(x, f"roi_heads.box_head.{stage}.{layer}").relu()
            said.append(self.linear(x, f"roi_heads.box_predictor.{stage}.cls_score"))
            deltas = self.linear(x, f"roi_heads.box_predictor.{stage}.bbox_pred")
            spread = torch.tensor([factor[0], factor[0], factor[1], factor[1]])
            boxes = clipped(decoded(deltas * spread, boxes), inside)
        if self.mmdetection:
            scores = (sum(said, torch.zeros(())) / 3).softmax(1)[:, :-1]
        else:
            scores = (sum((logits.softmax(1) for logits in said), torch.zeros(())) / 3)[:, :-1]
        rows, classes = (scores > self.threshold).nonzero().unbind(1)
        found, sure = boxes[rows], scores[rows, classes]
        keep = batched_nms(found, sure, classes, 0.5)[:100]
        return found[keep], classes[keep], sure[keep]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def masks(self, maps: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
        if not self.mmdetection:
            return super().masks(maps, boxes, classes)
        sure = torch.zeros(())
        for stage in range(3):
            own = {
                name.replace(f"mask_head.{stage}.", "mask_head."): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(f"roi_heads.mask_head.{stage}.")
            }
            alone = Reference(own, stride_in_1x1=self.stride_in_1x1, level=self.level, threshold=self.threshold)
            sure = sure + alone.masks(maps, boxes, classes).sigmoid() / 3
        return sure.logit()


class PointReference(Reference):
    """With PointRend's heads in place of the mask head: masks of 28 pixels a side, doubled three times."""

    def masks(self, maps: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
        return torch.stack([self.mask(maps[0], box, int(own)) for box, own in zip(boxes, classes, strict=True)])

    def mask(self, finest: Tensor, box: Tensor, own: int) -> Tensor:
        coarse = self.coarse(finest, box)
        side = 28
        mask = self.at(finest, box, coarse, grid(side))[own].view(side, side)
        for _ in range(3):
            side *= 2
            mask = F.interpolate(mask[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
            rows = (-mask.abs()).flatten().topk(28 * 28).indices
            points = torch.stack([(rows % side + 0.5) / side, (rows // side + 0.5) / side], dim=1)
            mask.view(-1)[rows] = self.at(finest, box, coarse, points)[own]
        return mask

    def coarse(self, finest: Tensor, box: Tensor) -> Tensor:
        """[classes, 7, 7]"""
        head = "roi_heads.mask_head.coarse_head"
        x = self.conv(
            self.features(finest, box, grid(14)).view(1, -1, 14, 14), f"{head}.reduce_spatial_dim_conv", stride=2
        )
        x = x.relu().flatten(1)
        for layer in ("coarse_mask_fc1", "coarse_mask_fc2"):
            x = F.linear(x, self.tensors[f"{head}.{layer}.weight"], self.tensors[f"{head}.{layer}.bias"]).relu()
        x = F.linear(x, self.tensors[f"{head}.prediction.weight"], self.tensors[f"{head}.prediction.bias"])
        return x.view(-1, 7, 7)

    def at(self, finest: Tensor, box: Tensor, coarse: Tensor, points: Tensor) -> Tensor:
        """[classes, P]"""
        head = "roi_heads.mask_head.point_head"
        known = F.grid_sample(coarse[None], 2 * points[None, None] - 1, align_corners=False)[:, :, 0]
        x = self.features(finest, box, points)[None]
        for layer in ("fc1", "fc2", "fc3", "predictor"):
            both = torch.cat([x, known], dim=1)
            x = F.conv1d(both, self.tensors[f"{head}.{layer}.weight"], self.tensors[f"{head}.{layer}.bias"])
            x = x if layer == "predictor" else x.relu()
        return x[0]

    def features(self, finest: Tensor, box: Tensor, points: Tensor) -> Tensor:
        """[C, P]"""
        places = box[:2] + points * (box[2:] - box[:2])
        shares = places / torch.tensor([4.0 * finest.shape[3], 4.0 * finest.shape[2]])
        return F.grid_sample(finest, 2 * shares[None, None] - 1, align_corners=False)[0, :, 0]


class BenchmarkReference(Reference):
    """maskrcnn-benchmark: boxes end with their last pixel, background is first, norms add nothing to the variance."""

    epsilon = 0.0

    def proposals(self, maps: list[Tensor], inside: tuple[int, int]) -> Tensor:
        head, kept = "proposal_generator.rpn_head", []
        for place, (x, stride) in enumerate(zip(maps, STRIDES, strict=True)):
            features = self.conv(x, f"{head}.conv", padding=1).relu()
            scores = self.conv(features, f"{head}.objectness_logits")[0].permute(1, 2, 0).flatten()
            deltas = self.conv(features, f"{head}.anchor_deltas")[0].permute(1, 2, 0).reshape(-1, 4)
            boxes = last_pixels(decoded(deltas, all_pixels(cell_anchors(x.shape[-2:], stride))))
            top = scores.sort(descending=True).indices[:1000]
            kept.append((boxes[top], scores[top], torch.full_like(top, place)))
        boxes, scores, levels = (torch.cat(column) for column in zip(*kept, strict=True))
        boxes = clipped(boxes, (inside[0] - 1, inside[1] - 1))
        return boxes[batched_nms(all_pixels(boxes), scores, levels, 0.7)[:1000]]

    def pooled(self, maps: list[Tensor], boxes: Tensor, side: int) -> Tensor:
        levels = self.level(all_pixels(boxes))
        out = maps[0].new_zeros(len(boxes), maps[0].shape[1], side, side)
        for place in range(4):
            rows = (levels == place).nonzero()[:, 0]
            out[rows] = roi_align(maps[place], [boxes[rows]], side, 1 / STRIDES[place], 2, aligned=False)
        return out

    def detections(self, maps: list[Tensor], boxes: Tensor, inside: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pooled(maps, boxes, 7).flatten(1)
        for layer in ("box_head.fc1", "box_head.fc2"):
            x = self.linear(x, f"roi_heads.{layer}").relu()
        scores = self.linear(x, "roi_heads.box_predictor.cls_score").softmax(1)
        deltas = self.linear(x, "roi_heads.box_predictor.bbox_pred").view(len(boxes), -1, 4)
        each = decoded(deltas / torch.tensor([10.0, 10, 5, 5]), all_pixels(boxes)[:, None].expand_as(deltas))
        each = clipped(last_pixels(each), (inside[0] - 1, inside[1] - 1))
        rows, classes = (scores[:, 1:] > self.threshold).nonzero().unbind(1)
        found, sure = each[rows, classes + 1], scores[rows, classes + 1]
        keep = batched_nms(all_pixels(found), sure, classes, 0.5)[:100]
        return found[keep], classes[keep], sure[keep]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def masks(self, maps: list[Tensor], boxes: Tensor, classes: Tensor) -> Tensor:
        return super().masks(maps, boxes, classes + 1)


def cell_anchors(size: tuple[int, ...], stride: int) -> Tensor:
    """[N, 4] with their last pixels, eight strides large."""
    boxes = []
    for y in range(size[0]):
        for x in range(size[1]):
            for ratio in (0.5, 1.0, 2.0):
                w = round(math.sqrt(stride * stride / ratio))
                w, h = 8 * w, 8 * round(w * ratio)
                cx, cy = x * stride + (stride - 1) / 2, y * stride + (stride - 1) / 2
                boxes.append((cx - (w - 1) / 2, cy - (h - 1) / 2, cx + (w - 1) / 2, cy + (h - 1) / 2))
    return torch.tensor(boxes)


def all_pixels(boxes: Tensor) -> Tensor:
    return boxes + torch.tensor([0.0, 0, 1, 1])


def last_pixels(boxes: Tensor) -> Tensor:
    return boxes - torch.tensor([0.0, 0, 1, 1])


def grid(side: int) -> Tensor:
    middles = (torch.arange(side) + 0.5) / side
    return torch.stack([middles.repeat(side), middles.repeat_interleave(side)], dim=1)


def anchors(size: tuple[int, ...], stride: int, side: float) -> Tensor:
    """Row by row, at each place one for each ratio of height to width."""
    boxes = []
    for y in range(size[0]):
        for x in range(size[1]):
            for ratio in (0.5, 1.0, 2.0):
                w = math.sqrt(side * side / ratio)
                h = ratio * w
                boxes.append((x * stride - w / 2, y * stride - h / 2, x * stride + w / 2, y * stride + h / 2))
    return torch.tensor(boxes)


def decoded(deltas: Tensor, boxes: Tensor) -> Tensor:
    w, h = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    x, y = boxes[..., 0] + w / 2 + deltas[..., 0] * w, boxes[..., 1] + h / 2 + deltas[..., 1] * h
    w, h = (side * deltas[..., axis].clamp(max=math.log(1000 / 16)).exp() for side, axis in ((w, 2), (h, 3)))
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)


def clipped(boxes: Tensor, inside: tuple[int, int]) -> Tensor:
    h, w = inside
    return torch.stack(
        [boxes[..., 0].clamp(0, w), boxes[..., 1].clamp(0, h), boxes[..., 2].clamp(0, w), boxes[..., 3].clamp(0, h)], -1
    )
