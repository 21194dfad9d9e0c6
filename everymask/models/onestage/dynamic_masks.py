"""Masks by small networks whose weights the detector gives for each object (Tian et al. 2020, CondInst; RTMDet-Ins)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.arrays import FloatArray
from everymask.core.masks import Masks
from everymask.models.blocks.layers import Classifier
from everymask.models.onestage.cspnext import conv_norm
from everymask.models.onestage.places import STRIDES

FEATURES, _HIDDEN = 8, 8
_PARTS = (_HIDDEN * (2 + FEATURES), _HIDDEN * _HIDDEN, _HIDDEN, _HIDDEN, _HIDDEN, 1)
WEIGHTS = sum(_PARTS)
"""How many numbers make up one object's network: the weights of three layers, then their biases."""
_STRIDE = STRIDES[0]
_FAR = 8
_SAMPLED = 4
_EPS = 5e-6


class MaskFeatures(nn.Module):
    """Three maps of the pyramid to the features [B, 8, h, w], at stride 8, that all masks are made of."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fusion_conv: nn.Conv2d = nn.Conv2d(len(STRIDES) * channels, channels, 1)
        self.stacked_convs: nn.Sequential = nn.Sequential(*(conv_norm(channels, channels, 3) for _ in range(4)))
        self.projection: Classifier = Classifier(channels, FEATURES, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        grown = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in maps[1:]]
        out: Tensor = self.projection(self.stacked_convs(self.fusion_conv(torch.cat([maps[0], *grown], dim=1))))
        return out.float()


def mask_logits(features: Tensor, weights: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Of K objects of one picture the logits [K, h, w] of its whole frame, at stride 8.

    `features` [8, h, w] are the picture's, `weights` [K, 169] the objects' networks, `corners` [K, 2] xy and `strides`
    [K] the places that found them. A network sees the features of each place and how far that lies from its own.
    """
    height, width = features.shape[1:]
    first, second, third, *biases = weights.split(_PARTS, dim=1)
    own = first.unflatten(1, (_HIDDEN, 2 + FEATURES))
    ys = torch.arange(height, device=features.device, dtype=torch.float32) * _STRIDE
    xs = torch.arange(width, device=features.device, dtype=torch.float32) * _STRIDE
    reach = (strides * _FAR)[:, None]
    across = ((corners[:, :1] - xs) / reach)[:, None, None, :]
    down = ((corners[:, 1:] - ys) / reach)[:, None, :, None]
    x = torch.tensordot(own[..., 2:], features, dims=1)
    x = x + own[..., 0, None, None] * across + own[..., 1, None, None] * down
    x = F.relu(x + biases[0][..., None, None]).flatten(2)
    x = F.relu(torch.bmm(second.unflatten(1, (_HIDDEN, _HIDDEN)), x) + biases[1][..., None])
    out = torch.bmm(third[:, None], x) + biases[2][..., None]
    return out[:, 0].unflatten(1, (height, width))


def dice_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """[P]: one less twice the overlap by the sum of squares (Milletari et al. 2016, V-Net).

    Logits [P, h, w] at stride 8 are compared at stride 4 with `targets` [P, 2h, 2w] in 0-1.
    """
    found = F.interpolate(logits[None], scale_factor=2.0, mode="bilinear", align_corners=False)[0]
    found, wanted = found.sigmoid().flatten(1), targets.flatten(1)
    squares = (found**2).sum(dim=1) + (wanted**2).sum(dim=1) + 2 * _EPS
    return 1 - 2 * (found * wanted).sum(dim=1) / squares


def sampled_masks(masks: Masks, frame: tuple[int, int]) -> FloatArray:
    """[T, H / 4, W / 4] in 0-1: of each mask the pixels (2, 2), (2, 6) ... of a frame of (H, W)."""
    planes = np.zeros((len(masks), frame[0] // _SAMPLED, frame[1] // _SAMPLED), np.float32)
    start = _SAMPLED // 2
    for row, (left, top, *_) in enumerate(masks.windows.tolist()):
        first_y, first_x = (-(-max(0, low - start) // _SAMPLED) for low in (top, left))
        seen = masks.crop(row)[
            first_y * _SAMPLED + start - top :: _SAMPLED, first_x * _SAMPLED + start - left :: _SAMPLED
        ]
        planes[row, first_y : first_y + seen.shape[0], first_x : first_x + seen.shape[1]] = seen
    return planes


def middles(masks: Masks) -> FloatArray:
    """[T, 2] xy: the mean place of each mask's pixels, counted from 0."""
    found = np.zeros((len(masks), 2), np.float32)
    for row, (left, top, *_) in enumerate(masks.windows.tolist()):
        ys, xs = np.nonzero(masks.crop(row))
        if ys.size:
            found[row] = left + xs.mean(), top + ys.mean()
    return found
