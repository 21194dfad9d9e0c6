"""torchvision's detection checkpoints: their files, safely read, and their older parameter names."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.checkpoint import read_safetensors

_NAMED_HASH = re.compile(r"-([0-9a-f]{8})\.pth$")
_OLD_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)
_OLD_MASK = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a `.safetensors` or a PyTorch file, without running any code that lies in it.

    A hash in the file's name (`...-bf2d0c1e.pth`) is checked. A training checkpoint's `model` or `state_dict` is taken,
    and the prefix `module.` is dropped. `WeightsError` otherwise.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        return read_safetensors(file)[0]
    if not file.is_file():
        raise WeightsError(f"there is no model file {file}")
    _check_named_hash(file)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
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
    """Today's parameter names for checkpoints older than torchvision 0.13, as on its server; others as they are."""
    return {_new_name(name): tensor for name, tensor in tensors.items()}


def _new_name(name: str) -> str:
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return _OLD_MASK.sub(lambda match: f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}", name)
