"""A GPU that is pretended: tensors say that they lie on it and are calculated on the CPU.

Unlike torch's `FakeTensorMode` it has numbers, so that code whose shapes depend on them runs to its end. An operation
that a GPU would refuse, because one of its tensors was left on the CPU, is an error here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
_CPU = torch.device("cpu")
# Operations for which CUDA takes tensors of the CPU too: to copy from, and to index by.
_MIXED = {"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class OnGpu(Tensor):
    """A tensor that says it is on the GPU; `held` has its numbers, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        assert held.device.type == "cpu"
        made: OnGpu = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=GPU,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside of the pretended GPU")


class LeftBehind(Exception):
    """A tensor on the CPU where all others are on the GPU."""


class _Pretence(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        behind = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.ndim]
        name = func._schema.name.split("::")[-1]
        if there and behind and name not in _MIXED:
            raise LeftBehind(f"{func}: {[tuple(tensor.shape) for tensor in behind]} on the CPU")
        to_gpu = bool(there)
        if kwargs.get("device") is not None:
            to_gpu = torch.device(kwargs["device"]).type == GPU.type
            kwargs["device"] = _CPU
        if name == "copy_":
            to_gpu = isinstance(args[0], OnGpu)
        found = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        # What is changed in place is the same tensor afterwards.
        changed = {id(tensor.held): tensor for tensor in there}
        return tree_map(lambda value: changed.get(id(value), _shown(value)) if to_gpu else value, found)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


def _shown(value: Any) -> Any:
    return OnGpu(value) if isinstance(value, Tensor) and not isinstance(value, OnGpu) else value


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within the block `device="cuda"` can be asked for; nothing is differentiated."""
    torch._C._ensureCUDADeviceGuardSet()
    mode = _Pretence()
    mode._mode_key = torch._C._TorchDispatchModeKey.FAKE  # type: ignore[attr-defined]
    with torch.no_grad(), mode:
        yield


def on_gpu(module: nn.Module) -> nn.Module:
    """The module with its parameters and buffers on the pretended GPU."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(OnGpu(parameter.detach()), requires_grad=False)
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = OnGpu(buffer)
    return module
