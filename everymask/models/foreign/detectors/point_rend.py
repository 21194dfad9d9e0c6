"""Detectron2's PointRend: its heads' names, and layers that see features and coarse masks at once as two."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.foreign.whole import Rule, part

_HEAD = r"^roi_heads\.mask_(?:head\.)?"
RULES: tuple[Rule, ...] = (
    (rf"{_HEAD}coarse_head\.reduce_spatial_dim_conv\.", "roi_heads.coarse_head.reduce."),
    (rf"{_HEAD}coarse_head\.coarse_mask_fc(\d)\.", lambda found: f"roi_heads.coarse_head.fcs.{int(found[1]) - 1}."),
    (rf"{_HEAD}coarse_head\.prediction\.", "roi_heads.coarse_head.prediction."),
    (rf"{_HEAD}point_head\.fc(\d)\.", lambda found: f"roi_heads.point_head.fcs.{int(found[1]) - 1}."),
    (rf"{_HEAD}point_head\.predictor\.", "roi_heads.point_head.predictor."),
)
"""Of today's files, and of older ones (`mask_coarse_head`, `mask_point_head`)."""
_LAYER = re.compile(r"roi_heads\.point_head\.(fcs\.\d|predictor)\.(weight|bias)")
_COARSE = "roi_heads.coarse_head.prediction"
_POINTS = "roi_heads.point_head.predictor"


def has_points(named: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a PointRend, by the names of `RULES`."""
    return f"{_POINTS}.weight" in named


def points_apart(named: dict[str, Tensor], classes: int, origin: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Its tensors as ours, with rows of background, and what they tell of the spec.

    A layer's columns are first those of features, then one for each class's coarse mask; the last layers have a row for
    each class.
    """
    prediction = part(named, f"{_COARSE}.weight", origin, 2)
    side = math.isqrt(len(prediction) // max(1, classes))
    if side**2 * classes != len(prediction):
        raise WeightsError(
            f"the weights by {origin} have coarse masks of {len(prediction)} numbers for {classes} classes"
        )
    out = dict(named)
    for name, tensor in named.items():
        found = _LAYER.fullmatch(name)
        last = found is not None and found[1] == "predictor"
        if name.startswith(f"{_COARSE}."):
            out[name] = _with_background(tensor, side**2)
        elif found is not None and found[2] == "bias":
            del out[name]
            out[f"roi_heads.point_head.{found[1]}.fine.bias"] = _with_background(tensor, 1) if last else tensor
        elif found is not None:
            del out[name]
            weight = part(named, name, origin, 3)[:, :, 0]
            weight = _with_background(weight, 1) if last else weight
            out[f"roi_heads.point_head.{found[1]}.fine.weight"] = weight[:, :-classes]
            out[f"roi_heads.point_head.{found[1]}.coarse"] = _with_background(weight[:, -classes:].t(), 1)
    return out, {
        "coarse_side": side,
        "coarse_fcs": _widths(named, "roi_heads.coarse_head.fcs.{}.weight"),
        "point_fcs": _widths(named, "roi_heads.point_head.fcs.{}.weight"),
    }


def _with_background(rows: Tensor, count: int) -> Tensor:
    return torch.cat([rows.new_zeros(count, *rows.shape[1:]), rows])


def _widths(named: Mapping[str, Tensor], pattern: str) -> tuple[int, ...]:
    widths: list[int] = []
    while (tensor := named.get(pattern.format(len(widths)))) is not None:
        widths.append(len(tensor))
    return tuple(widths)
