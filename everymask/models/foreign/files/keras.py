"""Keras' HDF5 files: arrays by layer and name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from everymask.errors import EverymaskError, WeightsError, printable, require
from everymask.models.foreign.files.pickles import memory_was_short

_WHOLE = "model_weights/"
_MOST_EXPANSION = 1000  # by which gzip makes a file smaller at most


def read_keras(path: Path) -> dict[str, Tensor]:
    """The arrays of weights or of a whole model that Keras saved as HDF5, by layer and name: `conv1/kernel`.

    Layers stand in the order in which the file lists them. What lies in other files, to which HDF5 can point, is not
    read. `WeightsError` for damaged files, `MissingExtra` without h5py.
    """
    h5py: Any = require("h5py", "h5")
    try:
        with h5py.File(path, "r") as file:
            return _arrays(file, path)
    except EverymaskError:
        raise
    except Exception as error:  # damaged files make HDF5 raise nearly every class
        if memory_was_short(error, path):
            raise
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise WeightsError(f"{printable(path)} is not a whole HDF5 file of weights: {reason}") from error


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

    for layer in _order(root):
        if isinstance(root[layer], h5py.Group):
            root[layer].visititems(lambda name, item, layer=layer: take(f"{layer}/{name}", item))
    if not found:
        raise WeightsError(f"{printable(path)} holds no weights of layers", hint="save them with model.save_weights()")
    return found


def _order(root: Any) -> list[str]:
    """The layers as the file lists them, which is the order in which they work, and those that it does not list."""
    listed = [name.decode() if isinstance(name, bytes) else str(name) for name in root.attrs.get("layer_names", ())]
    return [name for name in listed if name in root] + sorted(set(root) - set(listed))


def _short(name: str) -> str:
    """`conv1/kernel` of `conv1/conv1/kernel:0`; of layers in layers (`rpn_model/rpn_conv_shared/...`) the inner one."""
    layer, weight = name.split("/")[-2:]
    return f"{layer}/{weight.partition(':')[0]}"
