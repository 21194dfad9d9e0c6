"""PIDNet (Xu et al. 2023), the network for real time: most accurate of its kind on Cityscapes (78.8 mIoU at 7.6 M
parameters), under the MIT licence, and only convolutions, pooling, sigmoids and bilinear resizing to export.

Parameters are named as in the authors' code, what is no head under `backbone`; `from_authors` loads their files.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.errors import WeightsError
from everymask.models.base import Batch
from everymask.models.blocks.layers import Classifier, PooledBatchNorm, conv_norm, initialise
from everymask.models.blocks.residual import BasicBlock, Bottleneck
from everymask.models.semantic.encoders import set_norm
from everymask.models.semantic.network import AUXILIARY_WEIGHT, SemanticModel, resize, semantic_targets
from everymask.models.semantic.pixel_losses import IGNORED
from everymask.models.shares import per_process
from everymask.models.specs.semantic import PIDNet

WIDTHS = {"pidnet_s": 32, "pidnet_m": 64}
BOUNDARY_WEIGHT = 20.0
BOUNDARY_CERTAINTY = 0.8
_POOLED, _HIDDEN = 96, 128


class PIDNetNetwork(SemanticModel):
    """Three branches, fused at stride 8, and classes; while learning also classes and boundaries of the branches."""

    def __init__(self, spec: PIDNet, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        if pretrained_encoder:
            raise WeightsError(
                f"there are no ImageNet weights of {spec.encoder} to fetch",
                hint="train from scratch, or name a file of your own with --weights FILE",
            )
        width = WIDTHS[spec.encoder]
        self.align_corners: bool = spec.align_corners
        self.auxiliary: bool = spec.auxiliary
        self.backbone: Branches = Branches(spec.channels, width)
        if spec.auxiliary:
            self.seghead_p: Head = Head(2 * width, _HIDDEN, self.num_logits)
            self.seghead_d: Head = Head(2 * width, width, 1, last=nn.Conv2d)
        self.final_layer: Head = Head(4 * width, _HIDDEN, self.num_logits)
        set_norm(self if spec.norm == "group" else self.backbone, spec.norm)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        fused, detail, _ = self.backbone(images)
        planes = [self.final_layer(fused)]
        if auxiliary and self.auxiliary:
            planes.append(self.seghead_p(detail))
        return tuple(self._full_size(plane, images) for plane in planes)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """As in the paper: `loss_segmentation`; `loss_aux` (0.4) of the detail branch; and of the boundary branch
        `loss_boundary` (20) and `loss_at_boundaries`, the main loss again where it is sure of a boundary.
        """
        if not self.auxiliary:
            return super().loss(batch, generator)
        images = batch.images
        target = semantic_targets(batch, self.num_classes, self.spec.head).to(images.device, non_blocking=True)
        fused, detail, edges = self.backbone(images)
        main, second, boundary = (
            self._full_size(plane, images).float()
            for plane in (self.final_layer(fused), self.seghead_p(detail), self.seghead_d(edges))
        )
        sure = boundary.detach().sigmoid() > BOUNDARY_CERTAINTY
        near = target.where(sure if target.ndim == 4 else sure[:, 0], IGNORED)
        return {
            "loss_segmentation": self.criterion(main, target),
            "loss_aux": AUXILIARY_WEIGHT * self.criterion(second, target),
            "loss_boundary": BOUNDARY_WEIGHT * boundary_loss(boundary, class_boundaries(target)),
            "loss_at_boundaries": self.criterion(main, near),
        }

    def _full_size(self, plane: Tensor, images: Tensor) -> Tensor:
        return resize(plane, images.shape[-2:], align_corners=self.align_corners)


class Branches(nn.Module):
    """Proportional (detail), integral (context) and derivative (boundary) branches: figure 4 of the paper."""

    stages: tuple[tuple[str, ...], ...] = (("conv1",), ("layer1",), ("layer2",), ("layer3",))

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1: nn.Sequential = nn.Sequential(*_halving(channels, width), *_halving(width, width))
        self.layer1: nn.Sequential = _blocks(width, width, 2)
        self.layer2: nn.Sequential = _blocks(width, 2 * width, 2, stride=2)
        self.layer3: nn.Sequential = _blocks(2 * width, 4 * width, 3, stride=2)
        self.layer4: nn.Sequential = _blocks(4 * width, 8 * width, 3, stride=2)
        self.layer5: nn.Sequential = nn.Sequential(
            Bottleneck(8 * width, 8 * width, expansion=2, stride=2, relu=False),
            Bottleneck(16 * width, 8 * width, expansion=2, relu=False),
        )
        self.spp: ParallelPooling = ParallelPooling(16 * width, _POOLED, 4 * width)

        self.compression3: nn.Sequential = conv_norm(4 * width, 2 * width, 1, "batch")
        self.compression4: nn.Sequential = conv_norm(8 * width, 2 * width, 1, "batch")
        self.pag3: GuidedByAttention = GuidedByAttention(2 * width, width)
        self.pag4: GuidedByAttention = GuidedByAttention(2 * width, width)
        self.layer3_: nn.Sequential = _blocks(2 * width, 2 * width, 2)
        self.layer4_: nn.Sequential = _blocks(2 * width, 2 * width, 2)
        self.layer5_: nn.Sequential = nn.Sequential(Bottleneck(2 * width, 2 * width, expansion=2, relu=False))

        self.diff3: nn.Sequential = conv_norm(4 * width, width, 3, "batch")
        self.diff4: nn.Sequential = conv_norm(8 * width, 2 * width, 3, "batch")
        self.layer3_d: BasicBlock = BasicBlock(2 * width, width, relu=False)
        self.layer4_d: nn.Sequential = nn.Sequential(Bottleneck(width, width, expansion=2, relu=False))
        self.layer5_d: nn.Sequential = nn.Sequential(Bottleneck(2 * width, 2 * width, expansion=2, relu=False))

        self.dfm: FusionByBoundary = FusionByBoundary(4 * width)
        initialise(self)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All three fused [B, 4W, h, w], detail and boundary maps [B, 2W, h, w] of pictures, at stride 8."""
        x = F.relu(self.layer2(F.relu(self.layer1(self.conv1(images)))))
        detail, edges = self.layer3_(x), self.layer3_d(x)
        size = detail.shape[-2:]

        x = F.relu(self.layer3(x))
        detail = aside = self.pag3(detail, self.compression3(x))
        edges = edges + resize(self.diff3(x), size)

        x = F.relu(self.layer4(x))
        detail = self.pag4(self.layer4_(F.relu(detail)), self.compression4(x))
        edges = boundaries = self.layer4_d(F.relu(edges)) + resize(self.diff4(x), size)

        detail, edges = self.layer5_(F.relu(detail)), self.layer5_d(F.relu(edges))
        context = resize(self.spp(self.layer5(x)), size)
        return self.dfm(detail, context, edges), aside, boundaries


class GuidedByAttention(nn.Module):
    """Pag: takes from the context, pixel by pixel, as much as it agrees with the detail."""

    def __init__(self, channels: int, keys: int) -> None:
        super().__init__()
        self.f_x: nn.Sequential = conv_norm(channels, keys, 1, "batch")
        self.f_y: nn.Sequential = conv_norm(channels, keys, 1, "batch")

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        size = detail.shape[-2:]
        agreement = (self.f_x(detail) * resize(self.f_y(context), size)).sum(dim=1, keepdim=True).sigmoid()
        return (1 - agreement) * detail + agreement * resize(context, size)


class ParallelPooling(nn.Module):
    """PAPPM: the map, and its means over ever larger surroundings, joined."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.scale0: nn.Sequential = _norm_conv(inputs, width)
        self.scale1: nn.Sequential = nn.Sequential(nn.AvgPool2d(5, 2, 2), *_norm_conv(inputs, width))
        self.scale2: nn.Sequential = nn.Sequential(nn.AvgPool2d(9, 4, 4), *_norm_conv(inputs, width))
        self.scale3: nn.Sequential = nn.Sequential(nn.AvgPool2d(17, 8, 8), *_norm_conv(inputs, width))
        self.scale4: nn.Sequential = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_norm_conv(inputs, width))
        self.scale_process: nn.Sequential = _norm_conv(4 * width, 4 * width, kernel=3, groups=4)
        self.compression: nn.Sequential = _norm_conv(5 * width, outputs)
        self.shortcut: nn.Sequential = _norm_conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        here = self.scale0(x)
        means = [resize(scale(x), size) + here for scale in (self.scale1, self.scale2, self.scale3, self.scale4)]
        around = self.scale_process(torch.cat(means, dim=1))
        joined: Tensor = self.compression(torch.cat([here, around], dim=1)) + self.shortcut(x)
        return joined


class FusionByBoundary(nn.Module):
    """The light Bag: detail where the boundary branch sees a boundary, context elsewhere."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_p: nn.Sequential = conv_norm(channels, channels, 1, "batch")
        self.conv_i: nn.Sequential = conv_norm(channels, channels, 1, "batch")

    def forward(self, detail: Tensor, context: Tensor, edges: Tensor) -> Tensor:
        at_edge = edges.sigmoid()
        fused: Tensor = self.conv_p((1 - at_edge) * context + detail) + self.conv_i(context + at_edge * detail)
        return fused


class Head(nn.Module):
    """Norm and ReLU before each of a 3x3 and a last 1x1 convolution."""

    def __init__(self, inputs: int, width: int, outputs: int, *, last: type[nn.Conv2d] = Classifier) -> None:
        super().__init__()
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(inputs)
        self.conv1: nn.Conv2d = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2: nn.BatchNorm2d = nn.BatchNorm2d(width)
        initialise(self)
        self.conv2: nn.Conv2d = last(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(F.relu(self.bn1(x)))
        logits: Tensor = self.conv2(F.relu(self.bn2(x)))
        return logits


def class_boundaries(target: Tensor) -> Tensor:
    """1 within two pixels of a border between classes, else 0, and `IGNORED` where nothing is known: [B, 1, H, W].

    `target` is as `semantic_targets` makes it; ignored pixels have no border.
    """
    planes = target if target.ndim == 4 else target[:, None]
    border = torch.zeros_like(planes, dtype=torch.bool)
    for axis in (2, 3):
        last = planes.shape[axis] - 1
        one, other = planes.narrow(axis, 0, last), planes.narrow(axis, 1, last)
        differ = (one != other) & (one != IGNORED) & (other != IGNORED)
        border.narrow(axis, 0, last).logical_or_(differ)
        border.narrow(axis, 1, last).logical_or_(differ)
    thick = F.max_pool2d(border.any(dim=1, keepdim=True).float(), 3, stride=1, padding=1)
    return thick.where((planes != IGNORED).any(dim=1, keepdim=True), float(IGNORED))


def boundary_loss(logits: Tensor, boundaries: Tensor) -> Tensor:
    """Binary cross-entropy in which the rarer kind of pixel counts as much as the other; 0 where all are ignored.

    Of logits and `class_boundaries`, both [B, 1, H, W].
    """
    positive, negative = boundaries == 1, boundaries == 0
    positives, negatives = per_process(torch.stack([positive.sum(), negative.sum()]))
    count = (positives + negatives).clamp(min=1)
    weight = (positive * negatives + negative * positives) / count
    total = F.binary_cross_entropy_with_logits(logits, boundaries.clamp(0, 1), weight=weight, reduction="sum")
    return total / count


def _halving(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def _blocks(inputs: int, width: int, count: int, *, stride: int = 1) -> nn.Sequential:
    """Residual blocks; the last leaves its ReLU to those who use its map."""
    first = BasicBlock(inputs, width, stride=stride)
    return nn.Sequential(first, *(BasicBlock(width, width, relu=index < count - 1) for index in range(1, count)))


def _norm_conv(inputs: int, outputs: int, *, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(PooledBatchNorm(inputs), nn.ReLU(inplace=True), convolution)
