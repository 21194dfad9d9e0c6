"""Exhausted memory is known by what each library makes of it, and nothing else is taken for it."""

from __future__ import annotations

import gc

import pytest
import torch

from everymask.core.memory import many_objects, memory_ran_out, room_for
from everymask.errors import DataError, UnusableHere


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:50],
)
def test_the_picture_is_named(error: Exception) -> None:
    assert memory_ran_out(error)
    with (
        pytest.raises(UnusableHere, match=r"a\\tb.png: not enough memory(.|\n)*smaller") as caught,
        room_for("a\tb.png", "make it smaller"),
    ):
        raise error
    assert caught.value.exit_code == 4
    assert error.__traceback__ is None or error.__traceback__.tb_next is None, "frames hold what filled the memory"


@pytest.mark.parametrize(
    "error", [ValueError("no"), RuntimeError("shapes differ"), DataError("bad_alloc.png is cut off")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert not memory_ran_out(error)
    with pytest.raises(type(error)) as caught, room_for("a.png", ""):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("was_on", [True, False])
def test_many_objects_leave_the_collector_as_it_was(was_on: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_on else gc.disable)()
        with pytest.raises(KeyError), many_objects():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == was_on
    finally:
        (gc.enable if before else gc.disable)()
