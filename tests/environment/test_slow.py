"""What is said to be slow, on machines that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from everymask.environment.calculating import Device
from everymask.environment.facts import Cache, Memory, Processor
from everymask.environment.slow import slow
from tests.environment.machines import GB, computer, torch_with

CPU = {"calculating": torch_with(), "nvidia": False}
OLD_GPU = Device("cuda:0", "V100", 16 * GB, bf16=False)
APPLE = Device("mps", "Apple", None, bf16=False)


def processor(vectors: tuple[str, ...] = ("AVX2",), usable: int = 8, granted: float | None = None) -> Processor:
    return Processor("Slow", "x86_64", vectors, 8, usable, granted)


def test_a_good_machine_has_nothing_slow() -> None:
    assert slow(computer()) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"calculating": None, "without_torch": "No module named 'torch'"}, 'pip install "everymask[train]"'),
        (CPU, "there is no GPU"),
        ({"calculating": torch_with(cuda=None)}, "built for processors"),
        ({"calculating": torch_with()}, "built for CUDA 13.0, finds no GPU"),
        ({"calculating": torch_with(APPLE), "nvidia": False}, "unless --device names the GPU: mps"),
        ({"calculating": torch_with(OLD_GPU)}, "V100) does not calculate in bfloat16"),
        ({"memory": Memory(32 * GB, 20 * GB, None, 64 << 20)}, "--shm-size"),
        ({"calculating": torch_with(bf16=False)}, "AVX512-BF16"),
        ({"calculating": torch_with(), "processor": processor(())}, "neither AVX2 nor NEON"),
        ({"calculating": torch_with(kernels="DEFAULT")}, "ATEN_CPU_CAPABILITY"),
        ({"calculating": torch_with(matrix_units=True)}, "--gradient-threads half"),
        ({"calculating": torch_with(threads=2)}, "2 of 8 cores: set OMP_NUM_THREADS=8"),
        ({"calculating": torch_with(), "processor": processor(granted=1.5)}, "OMP_NUM_THREADS=1"),
        ({"calculating": torch_with(), "processor": processor(usable=4)}, "4 of the 8 cores"),
        ({"calculating": torch_with(), "waiting": "asleep"}, "twice as long as on a quiet machine"),
        ({"calculating": torch_with(), "waiting": "as usual"}, "import torch after"),
        ({"memory": Memory(32 * GB, GB, None, None)}, "little memory"),
        ({"memory": Memory(32 * GB, 20 * GB, GB, None)}, "little memory"),
        ({"offline": True}, "EVERYMASK_OFFLINE"),
        ({"cache": Cache("x", 0, 0, writable=False)}, "XDG_CACHE_HOME"),
    ],
)
def test_what_is_slow_is_said_with_what_helps(changed: dict[str, Any], said: str) -> None:
    assert said in "\n".join(slow(computer(**changed)))
    assert said not in "\n".join(slow(computer()))


def test_threads_are_right_where_a_container_is_granted_as_many() -> None:
    fits = computer(calculating=torch_with(threads=2), processor=processor(granted=2.0))
    assert "OMP_NUM_THREADS" not in "\n".join(slow(fits))
