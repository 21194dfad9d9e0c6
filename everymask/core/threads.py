"""How the threads of calculating libraries wait for work."""

from __future__ import annotations

import os
import sys

# GNU's OpenMP, which PyTorch brings along, and LLVM's and Intel's.
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def wait_asleep() -> bool:
    """Let PyTorch's threads sleep while they wait, instead of turning in circles; whether that was still possible.

    Threads that turn in circles gain microseconds on a machine that has nothing else to do. Where another process wants
    a core they hold it up, and each other: docs/benchmarks.md has the numbers. OpenMP reads these variables when it is
    loaded, so nothing happens once torch is imported; what is set in the environment already stays. The command line
    and `everymask.load` and `everymask.train` call this first.
    """
    if "torch" in sys.modules:
        return False
    for name, value in PATIENT.items():
        os.environ.setdefault(name, value)
    return True
