"""Sums over a batch of which several processes have a share each.

A loss that is a mean over something (pixels that count, sampled regions) is the mean over the whole batch where each
process divides its sum by the mean of that number over the processes: the mean of their losses and gradients, which
PyTorch's data parallel training takes, is then that of the whole batch. A loss of sums (Dice) takes those over all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_processes: ContextVar[int] = ContextVar("processes", default=1)


@contextmanager
def in_shares(processes: int) -> Iterator[None]:
    """Within the block the batch has its other shares in the other processes of PyTorch's default group."""
    before = _processes.set(processes)
    try:
        yield
    finally:
        _processes.reset(before)


def per_process(mass: Tensor) -> Tensor:
    """The mean over the processes of a tensor that is a constant of the loss; the same tensor where there is one."""
    processes = _processes.get()
    if processes == 1:
        return mass
    total = mass.detach().to(torch.float32, copy=True)
    torch.distributed.all_reduce(total)
    return total / processes


def count_per_process(count: int, like: Tensor) -> Tensor | int:
    """`per_process` of a number, at least 1 over all processes, on the device of `like`."""
    if _processes.get() == 1:
        return max(count, 1)
    return per_process(torch.tensor(count, device=like.device)).clamp(min=1 / _processes.get())


def over_processes(sums: Tensor) -> Tensor:
    """The sum over the processes, through which gradients flow to all; the same tensor where there is one."""
    if _processes.get() == 1:
        return sums
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(sums)
