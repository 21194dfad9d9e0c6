"""torchvision's detection and segmentation checkpoints: their older parameter names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_OLD_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)
_OLD_MASK = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")

# torchvision's MobileNetV3-Large is one row of blocks; timm's has stages of so many.
_MOBILENET_STAGES = (1, 2, 3, 4, 2, 3, 1)
_MOBILENET_NAME = re.compile(r"^(backbone\.(?:body\.)?)(\d+)\.((?:block\.\d\.)?\w+)\.(\w+)$")
_STEM = {"0": "conv_stem", "1": "bn1"}
_LAST = {"0": "conv", "1": "bn1"}
_PLAIN_BLOCK = {"block.0.0": "conv_dw", "block.0.1": "bn1", "block.1.0": "conv_pw", "block.1.1": "bn2"}
BLOCK = {
    "block.0.0": "conv_pw",
    "block.0.1": "bn1",
    "block.1.0": "conv_dw",
    "block.1.1": "bn2",
    "block.2.0": "conv_pwl",
    "block.2.1": "bn3",
    "block.2.fc1": "se.conv_reduce",
    "block.2.fc2": "se.conv_expand",
    "block.3.0": "conv_pwl",
    "block.3.1": "bn3",
}


def upgrade_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameter names for torchvision's networks: today's for files older than torchvision 0.13, as on its server.

    A MobileNetV3-Large encoder takes timm's names. Other names stay as they are.
    """
    return {mobilenet_name(_new_name(name)): tensor for name, tensor in tensors.items()}


def mobilenet_name(name: str) -> str:
    """timm's name for a parameter of torchvision's MobileNetV3-Large, which is `backbone.body` of detectors and
    `backbone` of other networks; other names as they are.
    """
    found = _MOBILENET_NAME.match(name)
    if not found:
        return name
    prefix, index, part, leaf = found[1], int(found[2]), found[3], found[4]
    blocks = [f"blocks.{stage}.{k}." for stage, count in enumerate(_MOBILENET_STAGES) for k in range(count)]
    owner, parts = "", _STEM
    if 0 < index <= len(blocks):
        owner = blocks[index - 1]
        parts = _PLAIN_BLOCK if index == 1 else _LAST if index == len(blocks) else BLOCK
    return f"{prefix}{owner}{parts[part]}.{leaf}" if part in parts and index <= len(blocks) else name


def _new_name(name: str) -> str:
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return _OLD_MASK.sub(lambda match: f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}", name)
