"""A network made ready to predict: the same function, calculated with less work."""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from everymask.models.base import Network
from everymask.models.fast.dilated import DilatedDepthwiseConv2d, is_dilated_depthwise
from everymask.models.fast.winograd import WinogradConv2d, pays

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


@runtime_checkable
class Foldable(Protocol):
    """A block that knows a cheaper way to the same answer once its weights are final and its norms folded."""

    def fold_for_prediction(self) -> None: ...


def ready_to_predict(
    network: AnyNetwork, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AnyNetwork:
    """A copy on `device` in evaluation mode that cannot be trained: norms folded, channels last in memory.

    With `dtype` the convolutions and the heads' hidden layers calculate in it; what a network lists in `exact_parts`
    (the last layers, whose rounding would show) keeps float32. Without it outputs differ only by float32's rounding,
    and on a CPU wide 3x3 convolutions take Winograd's way; not in a network's `small_maps`, where it does not pay.
    """
    ready = folded(network, device)
    for block in [module for module in ready.modules() if isinstance(module, Foldable)]:
        block.fold_for_prediction()
    if torch.device(device).type == "cpu":
        small = {ready.get_submodule(name) for name in network.small_maps}
        _replace_convolutions(ready, small, winograd=dtype is None)
    ready = ready.to(memory_format=torch.channels_last)
    if dtype is not None:
        exact = {name: copy.deepcopy(ready.get_submodule(name).state_dict()) for name in network.exact_parts}
        ready = ready.to(dtype)
        for name, values in exact.items():
            # What was rounded has its digits back.
            ready.get_submodule(name).float().load_state_dict(values)
    return ready


def folded(network: AnyNetwork, device: torch.device | str = "cpu") -> AnyNetwork:
    """A copy on `device` in evaluation mode that cannot be trained: norms folded, and nothing else changed."""
    copied = copy.deepcopy(network).to(device).eval().requires_grad_(False)
    fold_norms(copied)
    return copied


def _replace_convolutions(module: nn.Module, left_out: set[nn.Module], *, winograd: bool) -> None:
    """Put those in place that are faster on CPUs."""
    for name, child in list(module.named_children()):
        if is_dilated_depthwise(child):
            setattr(module, name, DilatedDepthwiseConv2d(child))
        elif winograd and pays(child):
            setattr(module, name, WinogradConv2d(child))
        elif child not in left_out and not isinstance(child, WinogradConv2d):
            _replace_convolutions(child, left_out, winograd=winograd)


def fold_norms(module: nn.Module) -> None:
    """Merge every batch norm in evaluation mode into the convolution that is registered right before it, in place."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if (
            before is not None
            and isinstance(before[1], nn.Conv2d)
            and isinstance(child, nn.BatchNorm2d)
            and child.num_features == before[1].out_channels
        ):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            # timm's norm carries the activation that comes after it.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        fold_norms(child)
        before = name, child
