"""Any checkpoint file: its tensors by name, and what it says in words of its classes and settings."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from everymask.errors import EverymaskError, WeightsError, printable
from everymask.models.checkpoint import read_safetensors
from everymask.models.foreign.files.keras import read_keras
from everymask.models.foreign.files.pickles import memory_was_short, read_pickle, read_torch
from everymask.models.foreign.yolox import read_yolox_onnx

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors", ".pkl", ".h5", ".hdf5", ".keras", ".onnx")
"""How the files end that are looked into."""
_NAMED_HASHES = (
    ("sha256", re.compile(r"-([0-9a-f]{8})\.pth$")),
    ("md5", re.compile(r"^model_final_([0-9a-f]{6})\.pkl$")),
)
_TITLES = {"sha256": "a SHA-256", "md5": "an MD5"}
_INSIDE = ("model", "state_dict", "model_state_dict", "network", "net", "weights", "params")
_AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema", "teacher")
_WRAPPINGS = ("module.", "model.", "net.", "network.", "_orig_mod.", "teacher.", "ema.", "ema_model.", "student.")
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file holds: `tensors` by their names there, the names of the `classes` if it says them, and its `settings`
    as a text, which nothing runs.
    """

    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] = ()
    settings: str = ""


def read_stored(path: Path) -> Stored:
    """What a checkpoint holds, without running code that lies in it: a `.safetensors`, PyTorch or Keras `.h5` or
    `.keras` file, a pickle of numpy arrays, or YOLOX's ONNX file.

    A hash in the file's name (`...-bf2d0c1e.pth`, `model_final_f10217.pkl`) is checked, and so are a zip's checksums.
    Of a training checkpoint the network's part is taken, of averaged weights those only where there are no others, and
    the prefix `module.` is dropped. `WeightsError` otherwise, `MissingExtra` for Keras files without h5py.
    """
    if path.suffix == ".safetensors":
        return Stored(read_safetensors(path)[0], classes_beside(path))
    if not path.is_file():
        raise WeightsError(f"there is no model file {printable(path)}")
    _check_named_hash(path)
    if path.suffix.lower() in (".h5", ".hdf5", ".keras"):
        tensors, layers = read_keras(path)
        return Stored(tensors, settings=layers)
    if path.suffix.lower() == ".onnx":
        return Stored(read_yolox_onnx(path))
    content = read_pickle(path) if path.suffix.lower() == ".pkl" else _read_torch(path)
    tensors = _tensors(content)
    if not tensors:
        raise WeightsError(f"{printable(path)} holds no tensors by name", hint="save the model's state_dict()")
    return Stored(tensors, *_words(content))


def classes_beside(path: Path) -> tuple[str, ...]:
    """The classes that transformers' `config.json` beside a file names, in their order; none where it does not."""
    try:
        names = json.loads((path.parent / "config.json").read_bytes())["id2label"]
        return tuple(str(names[str(class_id)]) for class_id in range(len(names)))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def views(tensors: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The tensors, and those below each name that trainings put before their network's: `model.`, `teacher.` ...

    The outermost come first, an averaging teacher before its student.
    """
    waiting = [(tensors, 0)]
    while waiting:
        view, depth = waiting.pop(0)
        yield view
        for prefix in _WRAPPINGS if depth < _DEEPEST else ():
            inside = {name.removeprefix(prefix): tensor for name, tensor in view.items() if name.startswith(prefix)}
            if inside:
                waiting.append((inside, depth + 1))


def unwrapped(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Those of the tensors that lie below a training's name and are called as in networks here; all if none are so."""
    return next((view for view in views(tensors) if any(name.startswith("backbone.") for name in view)), tensors)


def _read_torch(path: Path) -> Any:
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except EverymaskError:
        raise
    except Exception as error:  # damaged files make pickle and zip raise nearly every class
        if memory_was_short(error, path):
            raise
        return read_torch(path)


def _tensors(content: Any) -> dict[str, Tensor]:
    """The tensors by name in the network's part of a checkpoint."""
    for _ in range(2):
        inside = (content.get(key) for key in (*_INSIDE, *_AVERAGED)) if isinstance(content, Mapping) else ()
        content = next((part for part in inside if isinstance(part, Mapping)), content)
    if not isinstance(content, Mapping):
        return {}
    found = ((str(name).removeprefix("module."), _tensor(value)) for name, value in content.items())
    return {name: tensor for name, tensor in found if tensor is not None}


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.isnative:
        return torch.from_numpy(value.copy())
    return value if isinstance(value, Tensor) else None


def _words(content: Any) -> tuple[tuple[str, ...], str]:
    """Names of classes and settings, as OpenMMLab's checkpoints have them in `meta`."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return (), ""
    told = meta.get("dataset_meta")
    own = told if isinstance(told, Mapping) else {}
    candidates = (own.get("classes"), own.get("CLASSES"), meta.get("CLASSES"))
    names: Iterable[str] = next((names for names in candidates if names is not None and _are_names(names)), ())
    settings = next((text for text in (meta.get("cfg"), meta.get("config")) if isinstance(text, str)), "")
    return tuple(names), settings


def _are_names(names: Any) -> bool:
    return isinstance(names, Iterable) and not isinstance(names, str) and all(isinstance(name, str) for name in names)


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
    for kind, pattern in _NAMED_HASHES:
        named = pattern.search(file.name)
        if not named:
            continue
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if not found.startswith(named[1]):
            raise WeightsError(
                f"{file} is damaged: its name promises {_TITLES[kind]} that begins {named[1]}, but it is "
                f"{found[: len(named[1])]}",
                hint="download it again",
            )
