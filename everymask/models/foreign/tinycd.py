"""TinyCD's published checkpoints under our parameter names; the two files of its authors do not agree in theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.foreign.torchvision import BLOCK

# torchvision's EfficientNet; its first blocks have no convolution that widens.
_STEM = {"0": "conv_stem", "1": "bn1"}
_FIRST_BLOCK = {
    "block.0.0": "conv_dw",
    "block.0.1": "bn1",
    "block.1.fc1": "se.conv_reduce",
    "block.1.fc2": "se.conv_expand",
    "block.2.0": "conv_pw",
    "block.2.1": "bn2",
}
_BACKBONE = re.compile(r"_backbone\.(\d)\.(?:(\d)\.)?((?:block\.\d\.)?\w+)\.(\w+)")
_OTHERS = (
    (r"^_first_mix\._mixing\._convmix\.", "mixing.0.mix."),
    (r"^_first_mix\._linear\._linears\.(\d)\.", r"mixing.0.gate.\1."),
    (r"^_mixing_mask\.0\._mixing\._convmix\.", "mixing.1.mix."),
    (r"^_mixing_mask\.0\._linear\._linears\.(\d)\.", r"mixing.1.gate.\1."),
    (r"^_mixing_mask\.1\._mixing\._convmix\.", "mixing.2.mix."),
    (r"^_mixing_mask\.1\._linear\._linears\.(\d)\.", r"mixing.2.gate.\1."),
    # The file for LEVIR-CD has the last of them bare, that for WHU-CD as the others.
    (r"^_mixing_mask\.2\.(?:_mixing\.)?_convmix\.", "mixing.3.mix."),
    (r"^_up\.(\d)\._convolution\.", r"up.\1.layers."),
    (r"^_classify\._linears\.2\.0\.", "classifier."),
    (r"^_classify\._linears\.(\d)\.", r"hidden.\1."),
)


def from_tinycd(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their weights, named for our network; `WeightsError` for a tensor that TinyCD does not have."""
    return {_renamed(name): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    found = _BACKBONE.fullmatch(name)
    if found:
        stage, block, part, leaf = int(found[1]), found[2], found[3], found[4]
        owner, parts = (f"blocks.{stage - 1}.{block}.", BLOCK if stage > 1 else _FIRST_BLOCK) if block else ("", _STEM)
        if stage == 0:
            owner, parts, part = "", _STEM, block or part
        if part in parts:
            return f"backbone.{owner}{parts[part]}.{leaf}"
    for pattern, replacement in _OTHERS:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    raise WeightsError(f"this is not a TinyCD of its authors: it has {name}")
