"""What the machine does to a training, in words that say what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from everymask.core.memory import memory_ran_out
from everymask.errors import MachineError

_MEMORY = "lower batch, size or workers; saved states are intact"


@contextmanager
def machine_failures() -> Iterator[None]:
    """Within the block, exhausted memory and dead loader processes are raised as `MachineError`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MachineError(
            f"the GPU's memory is full: {str(error).partition('. ')[0]}",
            hint="lower batch (and raise accumulate as much), or lower size; saved states are intact",
        ) from error
    except Exception as error:
        if memory_ran_out(error):
            raise MachineError("the memory is full", hint=_MEMORY) from error
        # Torch has no class of its own for a dead worker.
        dead = isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
        if not dead and not isinstance(error, (ConnectionError, EOFError)):
            raise
        raise MachineError(
            f"a process that prepares pictures died: {error}",
            hint="usually memory, or shared memory (/dev/shm), ran out: lower workers or batch",
        ) from error
