"""How many threads of a processor calculate gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def gradient_threads(device: torch.device, *, bf16: bool) -> Iterator[None]:
    """Within, gradients in bfloat16 are calculated by half of the threads where the processor has matrix units (AMX).

    The threads that calculate the gradient of a convolution's weights there wait for each other turning in circles, so
    that one for which there is no core just then holds up all: with two threads on two cores that others use as well,
    64 channels of 64 x 64 pixels took 184 ms instead of the 1.4 ms of one thread (PyTorch 2.14, oneDNN 3). Which
    number is taken follows from the machine alone, never from how busy it is: a run that goes on calculates the same.
    """
    threads = torch.get_num_threads()
    fewer = max(1, threads // 2) if device.type == "cpu" and bf16 and _has_matrix_units() else threads
    torch.set_num_threads(fewer)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _has_matrix_units() -> bool:
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())
