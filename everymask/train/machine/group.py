"""Several processes on one or more machines become one group, as PyTorch's launchers start them."""

from __future__ import annotations

import itertools
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from everymask.backends.devices import choose_device
from everymask.core.processes.launched import Launch, launched, rank_timeout, threads_each
from everymask.core.processes.rank import ALONE, Rank
from everymask.errors import ConfigError, EverymaskError, FellowError, MachineError
from everymask.train.machine.watch import Board, Watch, ended

_GOING_ON = "what was saved is whole: go on with --resume"
# Gloo and the store raise plain errors for a connection that broke or a time that is over.
_SIGNS = (
    "gloo",
    "Connection closed by peer",
    "Connection reset",
    "Connection refused",
    "Timed out",
    "timed out",
    "NCCL",
)
_numbers = itertools.count()


@contextmanager
def joined(device: str) -> Iterator[Rank]:
    """Within the block this process is one of those that a launcher started, and talks to the others on `device`.

    `ALONE` where there are no others. Whatever ends one of them ends all, and one says why: its error names the process
    that failed, was lost, or did not answer in time. In the others it is a `FellowError`.
    """
    launch = launched()
    if launch is None or launch.count == 1:
        yield ALONE
        return
    threads = threads_each(launch)
    if threads is not None:
        torch.set_num_threads(threads)
    board = _meet(launch, local_device(device))
    watch = Watch(board, _say)
    watch.start()
    if launch.index:
        logging.getLogger("everymask").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of convolutions of one pixel, whose gradients lie in memory as they like.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield Rank(launch.index, launch.count, launch.local, _Group())
    except (Exception, KeyboardInterrupt) as error:
        raise _explained(error, board) from error
    finally:
        watch.stop()
        board.leave()
        with suppress(RuntimeError):
            dist.destroy_process_group()


def local_device(name: str) -> torch.device:
    """The device of that name; where several processes share a machine, of its GPUs the one of this process."""
    device, launch = choose_device(name), launched()
    if launch is None or launch.locals == 1 or device.type != "cuda" or ":" in name:
        return device
    if launch.locals > torch.cuda.device_count():
        raise ConfigError(
            f"{launch.locals} processes on a machine need as many GPUs, but it has {torch.cuda.device_count()}",
            hint=f"start {torch.cuda.device_count()} processes on it, or train on the processors: --device cpu",
        )
    torch.cuda.set_device(launch.local)
    return torch.device("cuda", launch.local)


def _meet(launch: Launch, device: torch.device) -> Board:
    """Wait for all others, and make the group."""
    # A program may train several times, and be restarted: each has a name of its own, as the store forgets nothing.
    name, timeout = f"everymask/{launch.restarts}/{next(_numbers)}", timedelta(seconds=rank_timeout())
    try:
        # The watch has a connection of its own: on one, a question would wait for that of another thread.
        store, watched = (next(rendezvous("env://", timeout=timeout))[0] for _ in range(2))
        board = Board(PrefixStore(f"{name}/board", watched), launch.index, launch.count)
        board.introduce()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(name, store),
            rank=launch.index,
            world_size=launch.count,
            timeout=timeout,
        )
    except (RuntimeError, ValueError) as error:
        raise MachineError(
            f"the {launch.count} processes did not find each other: {str(error).splitlines()[0]}",
            hint="each must be started, with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT (docs/distributed.md)",
        ) from error
    return board


class _Group:
    """PyTorch's group as an `Exchange`; what it says travels between processors also where GPUs calculate."""

    def told(self, value: object) -> Any:
        boxes = [value]
        dist.broadcast_object_list(boxes, src=0, device=torch.device("cpu"))
        return boxes[0]

    def most(self, numbers: Sequence[float]) -> tuple[float, ...]:
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(values.tolist())

    def means(self, numbers: Sequence[float]) -> list[float]:
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values)
        return (values / dist.get_world_size()).tolist()

    def collected(self, value: object) -> list[Any]:
        boxes: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
        dist.gather_object(value, boxes)
        return boxes or []


def _explained(error: BaseException, board: Board) -> BaseException:
    """The error with which this process ends: one that says what happened, or a `FellowError` where another says it."""
    try:
        if isinstance(error, FellowError):
            return error
        if isinstance(error, KeyboardInterrupt):
            lost = board.lost()  # torchrun terminates all where it misses one
            if lost is None:
                board.claim(f"{board.me} was stopped")
                return error
            fault = board.claim(ended(lost))
        elif _talks_in_vain(error):
            fault = board.explain()
        else:
            fault = board.own(error.message if isinstance(error, EverymaskError) else repr(error))
            if fault.by == board.index:
                if isinstance(error, EverymaskError):
                    error.message = fault.text
                return error
    except RuntimeError:
        return MachineError("the process that holds the others together, at MASTER_ADDR, is gone", hint=_GOING_ON)
    return MachineError(fault.text, hint=_GOING_ON) if fault.by == board.index else FellowError(fault.text)


def _talks_in_vain(error: BaseException) -> bool:
    if isinstance(error, EverymaskError):
        return False
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )


def _say(text: str) -> None:
    sys.stderr.write(f"error: {text}\n    {_GOING_ON}\n")
    sys.stderr.flush()
