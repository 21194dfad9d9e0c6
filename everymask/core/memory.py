"""Memory that ran out, whichever library says so, as a fault of the one picture that was too much; and given back."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from everymask.errors import EverymaskError, UnusableHere, printable

# Torch's allocator on CPUs, oneDNN, cuBLAS and cuDNN, OpenCV and ONNX Runtime have no classes of their own for it.
_SIGNS = (
    "DefaultCPUAllocator",
    "could not create a primitive",
    "could not create a memory",
    "_ALLOC_FAILED",
    "Insufficient memory",
    "Failed to allocate memory",
    "bad_alloc",
    "can't start new thread",
)


def memory_ran_out(error: BaseException) -> bool:
    """Whether the error says that the memory, of the machine or of its GPU, is exhausted."""
    if isinstance(error, EverymaskError):
        return False
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, Exception) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def room_for(name: object, hint: str) -> Iterator[None]:
    """Within the block exhausted memory is an `UnusableHere` that names what there was no room for."""
    try:
        yield
    except Exception as error:
        if not memory_ran_out(error):
            raise
        error.__traceback__ = None  # its frames hold what filled the memory
        raise UnusableHere(f"{printable(name)}: not enough memory to predict the picture", hint=hint) from error


def give_back() -> None:
    """Have memory that was freed go back to the system.

    glibc keeps it where larger and smaller pieces came and went, so that a process that works in steps grows with each
    (malloc_trim(3)). Other systems do so by themselves.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries than glibc have none
        if trim is not None:
            trim(0)


@contextmanager
def many_objects() -> Iterator[None]:
    """Within the block Python does not look for circles of references, which takes longer the more objects there are.

    For work that makes millions of objects that stay. What was switched off before stays so.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
