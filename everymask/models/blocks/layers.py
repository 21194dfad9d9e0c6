"""Blocks that several networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.encoders import group_count
from everymask.models.specs.regions import Norm
from everymask.models.tracing import AdaptiveAvgPool2d


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, norm: Norm | None, *, relu: bool = False, dilation: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size; with a norm it has no bias. Members: 0 convolution, 1 norm."""
    padding = kernel // 2 * dilation
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=norm is None),
    ]
    if norm == "group":
        layers.append(nn.GroupNorm(group_count(out_channels), out_channels))
    elif norm is not None:
        layers.append(nn.BatchNorm2d(out_channels))
    if relu:
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def pooled_conv_norm(in_channels: int, out_channels: int, side: int, norm: Norm) -> nn.Sequential:
    """Averages over side x side parts of the map, then a 1x1 convolution. Members: 0 pool, 1 convolution, 2 norm."""
    convolution, following = conv_norm(in_channels, out_channels, 1, norm)
    if isinstance(following, nn.BatchNorm2d):
        following = PooledBatchNorm(out_channels)
    return nn.Sequential(AdaptiveAvgPool2d(side), convolution, following, nn.ReLU(inplace=True))


class PooledBatchNorm(nn.BatchNorm2d):
    """Batch norm of maps that may have one value per channel, whose variance says nothing: then of the running ones."""

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() > x.shape[1]:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of [B, C, h, w]."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        return F.layer_norm(rows, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class Classifier(nn.Conv2d):
    """The convolution whose outputs are classes: a row of weights for each, in whose precision it calculates."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


def fcn_head(in_channels: int, num_logits: int, norm: Norm) -> nn.Sequential:
    """FCN's head, which also is the usual auxiliary one. Members: 0 convolution, 1 norm, 4 last convolution."""
    hidden = in_channels // 4
    return nn.Sequential(
        *conv_norm(in_channels, hidden, 3, norm, relu=True), nn.Dropout(0.1), Classifier(hidden, num_logits, 1)
    )


def initialise(*modules: nn.Module) -> None:
    """He's initialisation (2015) for the convolutions of decoders, so that they keep the scale of what they get."""
    for module in (part for root in modules for part in root.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
