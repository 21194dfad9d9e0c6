"""One network in several processes: each learns from its share of a batch, and all learn the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from everymask.core.processes.rank import Rank
from everymask.models.shares import in_shares, over_processes
from everymask.train.step import TrainStep


def together(step: TrainStep, rank: Rank) -> nn.Module:
    """The training step with gradients that are means over the processes; made anew when other layers learn."""
    return step if rank.exchange is None else DistributedDataParallel(step)


@contextmanager
def one_pass(step: nn.Module, rank: Rank, *, last: bool, shared_norms: bool) -> Iterator[None]:
    """Within the block a batch goes forth and back, whose losses are those of all its shares.

    Gradients are exchanged in the `last` pass of an optimizer step. With `shared_norms` batch norms take their
    statistics from the whole batch.
    """
    if rank.exchange is None:
        yield
        return
    assert isinstance(step, DistributedDataParallel)
    with (
        nullcontext() if last else step.no_sync(),
        in_shares(rank.count),
        _SharedNorms() if shared_norms else nullcontext(),
    ):
        yield


@torch.no_grad()
def spread(module: nn.Module, rank: Rank) -> None:
    """Give all processes the weights of the first, and its statistics of batch norms, of which each has its own."""
    if rank.exchange is not None:
        for tensor in (*module.parameters(), *module.buffers()):
            torch.distributed.broadcast(tensor, src=0)


class _SharedNorms(TorchFunctionMode):
    """Batch norms, whoever wrote them, take their statistics from all processes.

    PyTorch's own SyncBatchNorm is for GPUs only, and would replace modules that are more than a batch norm.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.batch_norm and (kwargs or {}).get("training"):
            return shared_batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def shared_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`torch.nn.functional.batch_norm` in training, of [B, C, ...] whose other pictures the other processes have."""
    axes = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    values = x.float()
    sums = torch.cat([values.sum(axes), values.new_tensor([x.numel() / x.shape[1]])])
    totals = over_processes(sums)
    count, mean = totals[-1].detach(), totals[:-1] / totals[-1].detach()
    centred = values - mean.view(shape)
    variance = over_processes(centred.square().sum(axes)) / count
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(variance.detach() * count / (count - 1).clamp(min=1), momentum)
    found = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None and bias is not None:
        found = found * weight.view(shape) + bias.view(shape)
    return found.to(x.dtype)
