"""A GPU that is pretended: tensors say that they lie on it and are calculated on the CPU.

Unlike torch's `FakeTensorMode` it has numbers, so that code whose shapes depend on them runs to its end. An operation
that a GPU would refuse, because one of its tensors was left on the CPU, is an error here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_COPIES = {"copy_", "_to_copy"}
# For these CUDA takes indices that lie on the CPU, but not the other way round.
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


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
    # In the place of FakeTensorMode torch does not look for a driver.
    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        behind = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.ndim]
        name = func._schema.name.split("::")[-1]
        if there and behind and not _may_mix(name, args):
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


def _may_mix(name: str, args: Any) -> bool:
    if name in _INDEXED and isinstance(args[0], OnGpu):
        return all(isinstance(value, OnGpu) or not value.ndim for value in args[2:3])
    return name in _COPIES


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


def _shown(value: Any) -> Any:
    return OnGpu(value) if isinstance(value, Tensor) and not isinstance(value, OnGpu) else value


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within the block `device="cuda"` can be asked for; nothing is differentiated."""
    # As FakeTensorMode does: no driver is asked for, and torch.tensor makes its numbers on the CPU first.
    torch._C._ensureCUDADeviceGuardSet()
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    # module.to(...) makes new parameters instead of changing what the old ones hold.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=False),
            patch.object(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state()),
            patch.object(torch.cuda, "set_rng_state", lambda state, device: None),
            _Pretence(),
        ):
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        torch._C._set_only_lift_cpu_tensors(before)


def on_gpu(module: nn.Module) -> nn.Module:
    """The same module with its parameters and buffers on the pretended GPU."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(OnGpu(parameter.detach()), requires_grad=False)
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = OnGpu(buffer)
    return module
