"""torchvision's detection and segmentation checkpoints: their files, safely read, and their older parameter names."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from everymask.core.memory import memory_ran_out
from everymask.errors import EverymaskError, WeightsError, printable
from everymask.models.checkpoint import read_safetensors

_NAMED_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")
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


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors` or a PyTorch file, without running any code that lies in it.

    A hash in the file's name (`...-bf2d0c1e.pth`) is checked, and so are a zip's checksums. A training checkpoint's
    `model` or `state_dict` is taken, and the prefix `module.` is dropped. `WeightsError` otherwise.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        return read_safetensors(file)[0]
    if not file.is_file():
        raise WeightsError(f"there is no model file {file}")
    _check_named_hash(file)
    try:
        _check_sums(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except EverymaskError:
        raise
    except Exception as error:  # damaged files make pickle and zip raise nearly every class
        if memory_ran_out(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{file} is not a whole PyTorch file of plain tensors: {reason}",
            hint="only tensors are loaded, never code; save the model's state_dict() in a file of its own",
        ) from error
    tensors = _state_dict(content)
    if not tensors:
        raise WeightsError(f"{file} holds no tensors by name", hint="save the model's state_dict()")
    return tensors


def _state_dict(content: Any) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for key in ("model", "state_dict"):
            if isinstance(content.get(key), Mapping):
                content = content[key]
    if not isinstance(content, Mapping):
        return {}
    return {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}


def _check_sums(file: Path) -> None:
    """Compare what lies in a zip, as PyTorch files are since 1.6, with the checksums in it; PyTorch does not."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        bad = archive.testzip()
    if bad is not None:
        raise WeightsError(
            f"{file} is damaged: {printable(bad)} in it does not match its checksum", hint="download or copy it again"
        )


def _check_named_hash(file: Path) -> None:
    named = _NAMED_HASH.search(file.name)
    if not named:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(named[1]):
        raise WeightsError(
            f"{file} is damaged: its name promises a SHA-256 that begins {named[1]}, but it is {found[:8]}",
            hint="download it again",
        )


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
