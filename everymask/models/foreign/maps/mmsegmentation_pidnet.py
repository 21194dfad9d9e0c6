"""mmsegmentation's names for PIDNet."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from everymask.models.foreign.whole import Rule

_STEM = {"2": "layer1", "4": "layer2"}
_BRANCHES = {"i": "", "p": "_", "d": "_d"}
_UNIT = r"(conv\d|downsample)\.(conv|bn)\."
_HEADS = {"i": "final_layer", "p": "seghead_p", "d": "seghead_d"}
PIDNET: tuple[Rule, ...] = (
    (
        r"^backbone\.stem\.([01])\.(conv|bn)\.",
        lambda found: f"backbone.conv1.{3 * int(found[1]) + (found[2] == 'bn')}.",
    ),
    (
        rf"^backbone\.stem\.([24])\.(\d)\.{_UNIT}",
        lambda found: f"backbone.{_STEM[found[1]]}.{found[2]}.{_unit(found, 3)}.",
    ),
    (
        rf"^backbone\.([ipd])_branch_layers\.(\d)\.(\d\.)?{_UNIT}",
        lambda found: f"backbone.layer{3 + int(found[2])}{_BRANCHES[found[1]]}.{found[3] or ''}{_unit(found, 4)}.",
    ),
    (
        r"^backbone\.(compression|diff)_([12])\.(conv|bn)\.",
        lambda found: f"backbone.{found[1]}{2 + int(found[2])}.{_of(found[3])}.",
    ),
    (
        r"^backbone\.pag_([12])\.f_([ip])\.(conv|bn)\.",
        lambda found: f"backbone.pag{2 + int(found[1])}.f_{'x' if found[2] == 'p' else 'y'}.{_of(found[3])}.",
    ),
    (r"^backbone\.dfm\.f_([ip])\.(conv|bn)\.", lambda found: f"backbone.dfm.conv_{found[1]}.{_of(found[2])}."),
    (r"^backbone\.spp\.scales\.0\.(conv|bn)\.", lambda found: f"backbone.spp.scale0.{_norm_first(found[1])}."),
    (
        r"^backbone\.spp\.scales\.([1-4])\.1\.(conv|bn)\.",
        lambda found: f"backbone.spp.scale{found[1]}.{1 + _norm_first(found[2])}.",
    ),
    (r"^backbone\.spp\.processes\.(conv|bn)\.", lambda found: f"backbone.spp.scale_process.{_norm_first(found[1])}."),
    (
        r"^backbone\.spp\.(compression|shortcut)\.(conv|bn)\.",
        lambda found: f"backbone.spp.{found[1]}.{_norm_first(found[2])}.",
    ),
    (r"^decode_head\.([ipd])_head\.conv\.conv\.", lambda found: f"{_HEADS[found[1]]}.conv1."),
    (r"^decode_head\.([ipd])_head\.conv\.bn\.", lambda found: f"{_HEADS[found[1]]}.bn1."),
    (r"^decode_head\.([ipd])_head\.norm\.", lambda found: f"{_HEADS[found[1]]}.bn2."),
    (r"^decode_head\.conv_seg\.", "final_layer.conv2."),
    (r"^decode_head\.([pd])_cls_seg\.", lambda found: f"{_HEADS[found[1]]}.conv2."),
)


def with_biases(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same; the two first convolutions have biases here, which are 0."""
    firsts = (f"backbone.conv1.{place}" for place in (0, 3))
    biases = {
        f"{first}.bias": torch.zeros(len(named[f"{first}.weight"])) for first in firsts if f"{first}.weight" in named
    }
    return {**biases, **named}


def _unit(found: re.Match[str], group: int) -> str:
    """Our name for a convolution of a block, or for its norm."""
    owner, kind = found[group], found[group + 1]
    if owner == "downsample":
        return f"downsample.{_of(kind)}"
    return owner if kind == "conv" else f"bn{owner[-1]}"


def _of(kind: str) -> int:
    return int(kind == "bn")


def _norm_first(kind: str) -> int:
    """Norm, ReLU, convolution."""
    return 2 * (kind == "conv")
