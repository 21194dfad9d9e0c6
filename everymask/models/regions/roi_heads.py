"""The heads that look at one region at a time: class, box and mask (Girshick 2015; He et al. 2017)."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.layers import conv_norm
from everymask.models.shares import count_per_process
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, Norm

BOX_SIDE = 7
MASK_SIDE = 14


def build_box_head(spec: FasterRCNN) -> nn.Module:
    """Pooled features [N, C, 7, 7] to vectors [N, D]: fully connected layers, or convolutions with norm before them."""
    if not spec.box_convs:
        return FullyConnectedHead(spec.fpn_channels * BOX_SIDE**2, spec.box_fcs)
    layers: list[nn.Module] = [
        conv_norm(spec.fpn_channels, spec.fpn_channels, 3, head_norm(spec), relu=True) for _ in range(spec.box_convs)
    ]
    layers.append(nn.Flatten())
    width = spec.fpn_channels * BOX_SIDE**2
    for next_width in spec.box_fcs:
        layers += [nn.Linear(width, next_width), nn.ReLU(inplace=True)]
        width = next_width
    return _kaiming(nn.Sequential(*layers))


def build_mask_head(spec: MaskRCNN) -> nn.Sequential:
    """Pooled features [N, C, 14, 14] to [N, C', 14, 14]."""
    channels = (spec.fpn_channels, *spec.mask_convs)
    norm = head_norm(spec) if spec.mask_norm else None
    blocks = [conv_norm(before, after, 3, norm, relu=True) for before, after in itertools.pairwise(channels)]
    return _kaiming(nn.Sequential(*blocks))


def head_norm(spec: FasterRCNN) -> Norm:
    """The norm of FPN and heads where they have one: never frozen, since nothing pretrained is in them."""
    return "group" if spec.norm == "group" else "batch"


class FullyConnectedHead(nn.Module):
    """The classic two layers `fc6` and `fc7`."""

    def __init__(self, width: int, widths: Sequence[int]) -> None:
        super().__init__()
        for number, next_width in enumerate(widths, start=6):
            self.add_module(f"fc{number}", nn.Linear(width, next_width))
            width = next_width

    def forward(self, pooled: Tensor) -> Tensor:
        x = pooled.flatten(1)
        for layer in self.children():
            x = F.relu(layer(x))
        return x


class BoxPredictor(nn.Module):
    """Class logits [N, 1 + classes] (row 0: background) and deltas [N, 1 + classes, 4]; with `shared_box` [N, 1, 4],
    which are those of every class.
    """

    def __init__(self, width: int, num_classes: int, *, shared_box: bool = False) -> None:
        super().__init__()
        self.cls_score: nn.Linear = nn.Linear(width, 1 + num_classes)
        self.bbox_pred: nn.Linear = nn.Linear(width, 4 * (1 if shared_box else 1 + num_classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.to(self.cls_score.weight.dtype)
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))


class MaskPredictor(nn.Sequential):
    """Twice the resolution, then a plane for background (unused) and one for each class."""

    conv5_mask: nn.ConvTranspose2d
    mask_fcn_logits: nn.Conv2d

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__(
            OrderedDict(
                conv5_mask=nn.ConvTranspose2d(in_channels, channels, 2, stride=2),
                relu=nn.ReLU(inplace=True),
                mask_fcn_logits=nn.Conv2d(channels, 1 + num_classes, 1),
            )
        )
        _kaiming(self)

    def own_class(self, features: Tensor, rows: Tensor) -> Tensor:
        """[N, 2h, 2w]: of features [N, C, h, w] only the planes `rows` [N]; equals choosing them from the whole.

        The transposed convolution does not overlap, so every pixel becomes four by one matrix product.
        """
        count, _, height, width = features.shape
        grow, plane = self.conv5_mask, self.mask_fcn_logits
        pixels = features.permute(0, 2, 3, 1).flatten(0, 2)
        hidden = F.relu(
            F.linear(pixels, grow.weight.permute(2, 3, 1, 0).flatten(0, 2), cast(Tensor, grow.bias).repeat(4))
        )
        weights = plane.weight[rows].flatten(1).to(hidden.dtype)
        logits = torch.bmm(hidden.view(count, 4 * height * width, grow.out_channels), weights[:, :, None])
        logits = logits.view(count, height, width, 2, 2).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
        return logits + cast(Tensor, plane.bias)[rows, None, None]


def _kaiming(module: nn.Sequential) -> nn.Sequential:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def box_losses(logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Losses of R sampled regions: `labels` [R] (0 background), `targets` [P, 4] deltas of those with a label > 0."""
    count = count_per_process(len(labels), logits)
    rows = (labels > 0).nonzero()[:, 0]
    predicted = deltas[rows, labels[rows]]
    box = F.smooth_l1_loss(predicted, targets, beta=1 / 9, reduction="sum") / count
    classifier = F.cross_entropy(logits, labels) * (len(labels) / count) if len(labels) else logits.sum()
    return {"loss_classifier": classifier, "loss_box_reg": box}


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of planes [N, M, M], each of its region's class; 0 when there is no region."""
    share = len(logits) / count_per_process(len(logits), logits)
    return F.binary_cross_entropy_with_logits(logits, targets) * share if len(logits) else logits.sum() * 0
