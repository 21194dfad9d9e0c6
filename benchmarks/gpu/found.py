"""How large everything is, and what a part of the measurement finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from benchmarks.compare import Bar, Comparison, Memory

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a GPU, or so small that a CPU runs every line in a test.

    `networks` are compared between CPU and device on squares of `side`. The detector sees pictures of `picture` (H, W),
    as a grid of `tiles` with one to three objects each, predicted in each of `batches` and trained in batches of
    `train` with that many `regions` of each; U-Net sees batches of `train` squares of `map_side`. A training of
    `killed` epochs is killed and goes on.
    """

    networks: tuple[str, ...]
    side: int
    picture: tuple[int, int]
    tiles: tuple[int, int]
    batches: tuple[int, ...]
    train: int
    regions: int
    map_side: int
    rounds: int
    killed: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one part of the measurement says."""

    times: tuple[Comparison, ...] = ()
    memory: tuple[Memory, ...] = ()
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()


def waited(call: Callable[[], Answer], device: torch.device) -> Callable[[], Answer]:
    """The call, which ends when the device has done all that it asked for."""

    def wait() -> Answer:
        answer = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return answer

    return wait


def peak_on(device: torch.device, call: Callable[[], object]) -> int:
    """Most bytes of the GPU's memory that a call adds to what torch held there before; 0 on a CPU."""
    if device.type != "cuda":
        call()
        return 0
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


@contextmanager
def whole_float32() -> Iterator[None]:
    """Within the block both sides calculate in float32 and not in TF32, which torch lets convolutions take."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
