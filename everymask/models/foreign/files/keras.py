"""Keras' HDF5 files, alone or in a `.keras` archive: arrays by layer and name, and what the file says of the layers."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from everymask.errors import EverymaskError, WeightsError, printable, require
from everymask.models.foreign.files.pickles import memory_was_short

_WHOLE = "model_weights/"
_INSIDE = "model.weights.h5"
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_KINDS = {1: ("kernel",), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}
_MOST_EXPANSION = 1000  # by which gzip makes a file smaller at most
_MOST_CONFIG = 20_000_000


def read_keras(path: Path) -> tuple[dict[str, Tensor], str]:
    """The arrays of weights or of a whole model that Keras saved, by layer and name (`conv1/kernel`), and the JSON that
    describes the layers, where the file has it.

    Layers stand in the order in which the file lists them; Keras 3 counts those of each class (`conv2d`, `conv2d_1`).
    What lies in other files, to which HDF5 can point, is not read. `WeightsError` for damaged files, `MissingExtra`
    without h5py.
    """
    h5py: Any = require("h5py", "h5")
    try:
        if path.suffix.lower() == ".keras":
            return _archive(path)
        with h5py.File(path, "r") as file:
            return _arrays(file, path), _text(file.attrs.get("model_config", ""))
    except EverymaskError:
        raise
    except Exception as error:  # damaged files make HDF5 and zip raise nearly every class
        if memory_was_short(error, path):
            raise
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise WeightsError(f"{printable(path)} is not a whole HDF5 file of weights: {reason}") from error


def _archive(path: Path) -> tuple[dict[str, Tensor], str]:
    h5py: Any = require("h5py", "h5")
    most = _MOST_EXPANSION * path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(_INSIDE).file_size > most:
            raise WeightsError(f"{printable(path)} is damaged: it holds more than it can")
        with h5py.File(io.BytesIO(archive.read(_INSIDE)), "r") as file:
            arrays = _arrays(file, path)
        known = "config.json" in archive.namelist() and archive.getinfo("config.json").file_size <= _MOST_CONFIG
        return arrays, _text(archive.read("config.json")) if known else ""


def _text(stored: Any) -> str:
    text = stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored)
    return text if len(text) <= _MOST_CONFIG else ""


def _arrays(file: Any, path: Path) -> dict[str, Tensor]:
    h5py: Any = require("h5py", "h5")
    found: dict[str, Tensor] = {}
    root = file[_WHOLE] if _WHOLE.strip("/") in file else file
    most = _MOST_EXPANSION * path.stat().st_size

    def take(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind != "f":
            return
        if item.external or item.is_virtual:
            raise WeightsError(f"{printable(path)}: {printable(name)} lies in another file, which is not read")
        if item.nbytes > most:
            raise WeightsError(f"{printable(path)} is damaged: {printable(name)} is larger than the file can hold")
        found[_short(name)] = torch.from_numpy(np.asarray(item[()], np.float32))

    container = next((name for name in _CONTAINERS if isinstance(file.get(name), h5py.Group)), None)
    if container is not None:
        for layer in sorted(file[container], key=_counted):
            stored = file[container][layer].get("vars")
            for place, kind in enumerate(_KINDS.get(len(stored) if stored is not None else 0, ())):
                take(f"{layer}/{kind}", stored[str(place)])
    for layer in _order(root) if container is None else ():
        if isinstance(root[layer], h5py.Group):
            root[layer].visititems(lambda name, item, layer=layer: take(f"{layer}/{name}", item))
    if not found:
        raise WeightsError(f"{printable(path)} holds no weights of layers", hint="save them with model.save_weights()")
    return found


def _counted(layer: str) -> tuple[str, int]:
    """Of a class of layers the first has no number, and the others count from 1."""
    name, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer).groups()  # type: ignore[union-attr]
    return name, int(number or 0)


def _order(root: Any) -> list[str]:
    """The layers as the file lists them, which is the order in which they work, and those that it does not list."""
    listed = [name.decode() if isinstance(name, bytes) else str(name) for name in root.attrs.get("layer_names", ())]
    return [name for name in listed if name in root] + sorted(set(root) - set(listed))


def _short(name: str) -> str:
    """`conv1/kernel` of `conv1/conv1/kernel:0`; of layers in layers (`rpn_model/rpn_conv_shared/...`) the inner one."""
    layer, weight = name.split("/")[-2:]
    return f"{layer}/{weight.partition(':')[0]}"
