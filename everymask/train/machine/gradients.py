"""How many threads of a processor calculate gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def wait_in_circles(device: torch.device, *, bf16: bool) -> bool:
    """Whether threads that calculate gradients wait for each other turning in circles: in bfloat16 on processors with
    matrix units (AMX).

    One for which there is no core just then holds up all: with two threads on two cores that others use as well, the
    gradient of a convolution's weights took 184 ms (64 channels of 64 x 64 pixels) and 1.4 ms by one thread (PyTorch
    2.14, oneDNN 3), and a step of a small Mask R-CNN 3.8 to 8 s and 1.1 s. With the cores to themselves two took 0.39 s
    and one 0.46 s.
    """
    return device.type == "cpu" and bf16 and torch.get_num_threads() > 1 and has_matrix_units()


@contextmanager
def gradient_threads(*, half: bool) -> Iterator[None]:
    """Within, torch calculates with all of its threads, or with half of them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2) if half else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def has_matrix_units() -> bool:
    """Whether the processor multiplies matrices as wholes (Intel's AMX)."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())
