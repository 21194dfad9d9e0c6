"""What the machine does to a training, in words that say what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
    except MemoryError as error:
        raise MachineError("the memory is full", hint=_MEMORY) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        # Torch has no classes of their own for these.
        if "DefaultCPUAllocator" in str(error):
            raise MachineError("the memory is full", hint=_MEMORY) from error
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise MachineError(
            f"a process that prepares pictures died: {error}",
            hint="usually memory, or shared memory (/dev/shm), ran out: lower workers or batch",
        ) from error
