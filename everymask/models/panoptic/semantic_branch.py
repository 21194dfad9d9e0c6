"""The semantic branch of Panoptic FPN: one map of stuff from all levels of a feature pyramid (Kirillov et al. 2019)."""

from __future__ import annotations

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm, initialise

_FINEST = 4


class SemanticBranch(nn.Module):
    """Maps P2-P5 at strides 4-32 to logits [B, `num_logits`, 4 h, 4 w], where P2 is [B, C, h, w].

    Each level takes as many steps of 3x3 convolution, group norm, ReLU and twice the resolution as lead to stride 4,
    the finest one step without; their sum is classified. Members are called as in Detectron2's `SemSegFPNHead`: `p2`
    to `p5`, in which upsampling counts as a member, and `predictor`. Of a member `p3.0` the convolution is `p3.0.0` and
    the norm `p3.0.1`, which there are `p3.0` and `p3.0.norm`.
    """

    def __init__(self, in_channels: int, channels: int, num_logits: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.levels: tuple[str, ...] = tuple(f"p{round(math.log2(stride))}" for stride in strides)
        for name, stride in zip(self.levels, strides, strict=True):
            self.add_module(name, _scale_head(in_channels, channels, stride))
        self.predictor: Classifier = Classifier(channels, num_logits, 1)
        initialise(self)

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = [self.get_submodule(name)(x) for name, x in zip(self.levels, maps, strict=True)]
        total = parts[0]
        for part in parts[1:]:
            # A coarse map of an odd number of pixels, doubled, is a pixel larger than the finer one.
            total = total + part[..., : total.shape[2], : total.shape[3]]
        return F.interpolate(self.predictor(total), scale_factor=_FINEST, mode="bilinear", align_corners=False)


def _scale_head(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    doublings = round(math.log2(stride // _FINEST))
    widths = (in_channels, *[channels] * max(1, doublings))
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers.append(conv_norm(before, after, 3, "group", relu=True))
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)
