"""Python pickles of numbers: what they hold is rebuilt, and nothing that they name is run."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch

from everymask.core.memory import memory_ran_out
from everymask.errors import EverymaskError, WeightsError, printable

_ARRAYS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}
_ARRAY_MODULES = ("numpy.core.", "numpy._core.")
# By which numpy itself, of whatever version, says that an array or a number is made again.
_ARRAY_MAKERS = {
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}
_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
# Settings, dates and histories that trainings store beside the weights: nothing of them is needed.
_SETTINGS = (
    "mmengine", "mmcv", "mmdet", "mmseg", "numpy", "argparse", "pathlib", "pathlib._local", "datetime", "collections",
    "omegaconf", "yacs", "detectron2", "fvcore", "pytorch_lightning", "lightning", "lightning_fabric", "typing",
    "torch", "builtins", "addict", "functools", "easydict",
)  # fmt: skip
_ULTRALYTICS = ("ultralytics", "models")
_SMALL = 50_000_000
_PLAIN = "only tensors are loaded, never code; save the model's state_dict() in a file of its own"


class Left:
    """Stands for an object of a class that is not needed, and takes whatever a pickle tells it."""

    def __init__(self, *values: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """As for a list."""

    def extend(self, values: object) -> None:
        """As for a list."""


class _Arrays(pickle._Unpickler):  # type: ignore[name-defined,misc,unused-ignore]
    """Numpy arrays in plain containers. Python's own unpickler: the one in C takes any amount of memory for a wrong
    number.
    """

    # Takes as much memory as it says, before anything is read.
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined,unused-ignore]
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str) -> Any:
        known = _ARRAYS.get((module, name))
        if known is None and module.startswith(_ARRAY_MODULES):
            known = _ARRAY_MAKERS.get(name)
        if known is None:
            raise pickle.UnpicklingError(f"it names {printable(f'{module}.{name}')}, which is no array")
        return known


class _Tensors(_Arrays):
    """Tensors and arrays; settings and histories beside them become `Left`."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in _TENSORS:
            return getattr(torch._utils, name)
        if module.partition(".")[0] in _ULTRALYTICS:
            raise WeightsError(
                "this is a model of Ultralytics (YOLO): objects of its own classes, and to read them is to run code",
                hint="where Ultralytics is installed, export it (yolo export model=FILE format=onnx); "
                "everymask evaluate and compare take predictions as COCO results",
            )
        try:
            return super().find_class(module, name)
        except pickle.UnpicklingError:
            if module.partition(".")[0] in _SETTINGS and name not in ("eval", "exec", "getattr", "__import__"):
                return Left
            raise


def read_pickle(path: Path) -> Any:
    """What a pickle of numpy arrays in dicts and lists holds, as Detectron2 publishes its weights.

    `WeightsError` where it is damaged, or names anything else.
    """
    try:
        return _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except EverymaskError:
        raise
    except Exception as error:  # damaged pickles raise nearly every class
        if isinstance(error, OSError) or memory_was_short(error, path):
            raise
        raise WeightsError(
            f"{printable(path)} is not a whole pickle of arrays: {_reason(error)}", hint=_PLAIN
        ) from error


def read_torch(path: Path) -> Any:
    """What a PyTorch file holds whose settings are objects of other packages; these are left out.

    `WeightsError` for what only code could make, and for damaged files.
    """
    restricted = SimpleNamespace(Unpickler=_Tensors, load=_load, __name__="pickle")
    try:
        if _is_torchscript(path):  # which torch.load would hand on to what runs it
            raise WeightsError("this is TorchScript, which is code", hint=_PLAIN)
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted)
    except WeightsError as error:
        raise WeightsError(f"{printable(path)}: {error.message}", hint=error.hint) from error
    except Exception as error:  # damaged files make pickle and zip raise nearly every class
        if memory_was_short(error, path):
            raise
        raise WeightsError(
            f"{printable(path)} is not a whole PyTorch file of plain tensors: {_reason(error)}", hint=_PLAIN
        ) from error


def memory_was_short(error: Exception, path: Path) -> bool:
    """Whether there is too little memory for a file; one that is small is damaged if it asks for so much."""
    return memory_ran_out(error) and path.stat().st_size > _SMALL


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _load(stream: Any, **options: Any) -> Any:
    return _Tensors(stream, **options).load()


def _reason(error: Exception) -> str:
    return printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
