"""The heads of PointRend (Kirillov et al. 2020): a coarse mask of a region, and what it is at single points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_COARSE_STD = 0.001


class CoarseHead(nn.Module):
    """Features [N, C, 2S, 2S] of regions to logits [N, 1 + classes, S, S] (row 0: background, unused)."""

    def __init__(self, channels: int, widths: Sequence[int], num_classes: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.reduce: nn.Conv2d = nn.Conv2d(channels, channels, 2, stride=2)
        width = channels * side**2
        self.fcs: nn.ModuleList = nn.ModuleList()
        for next_width in widths:
            self.fcs.append(nn.Linear(width, next_width))
            width = next_width
        self.prediction: nn.Linear = nn.Linear(width, (1 + num_classes) * side**2)
        nn.init.kaiming_normal_(self.reduce.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.prediction.weight, std=_COARSE_STD)
        nn.init.zeros_(self.prediction.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        x = F.relu(self.reduce(pooled.to(self.reduce.weight.dtype))).flatten(1)
        for layer in self.fcs:
            x = F.relu(layer(x))
        logits = self.prediction(x.to(self.prediction.weight.dtype)).float()
        return logits.unflatten(1, (-1, self.side, self.side))


class PointLayer(nn.Module):
    """A layer on what is known of a point, and on coarse logits of all classes there: `coarse` has a row for each."""

    def __init__(self, width: int, num_classes: int, next_width: int) -> None:
        super().__init__()
        self.fine: nn.Linear = nn.Linear(width, next_width)
        self.coarse: nn.Parameter = nn.Parameter(torch.empty(1 + num_classes, next_width))
        for weight in (self.fine.weight, self.coarse):
            nn.init.normal_(weight, std=(2 / next_width) ** 0.5)
        nn.init.zeros_(self.fine.bias)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        out: Tensor = self.fine(x.to(self.coarse.dtype)) + coarse.to(self.coarse.dtype) @ self.coarse
        return out


class PointHead(nn.Module):
    """Features [N, P, C] of points and their coarse logits [N, P, 1 + classes] to logits of one class [N, P]."""

    def __init__(self, channels: int, widths: Sequence[int], num_classes: int) -> None:
        super().__init__()
        before = (channels, *widths[:-1])
        self.fcs: nn.ModuleList = nn.ModuleList(
            PointLayer(*pair) for pair in zip(before, [num_classes] * len(widths), widths, strict=True)
        )
        self.predictor: PointLayer = PointLayer(widths[-1], num_classes, 1 + num_classes)
        for weight in (self.predictor.fine.weight, self.predictor.coarse):
            nn.init.normal_(weight, std=_COARSE_STD)

    def forward(self, features: Tensor, coarse: Tensor, planes: Tensor) -> Tensor:
        """`planes` [N] are the classes (0: background)."""
        x = features
        for layer in self.fcs:
            x = F.relu(layer(x, coarse))
        last = self.predictor
        x, coarse = (part.to(last.coarse.dtype) for part in (x, coarse))
        own = torch.bmm(x, last.fine.weight[planes][:, :, None]) + torch.bmm(
            coarse, last.coarse.t()[planes][:, :, None]
        )
        return (own[:, :, 0] + last.fine.bias[planes][:, None]).float()
