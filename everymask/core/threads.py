"""How the threads of calculating libraries wait for work."""

from __future__ import annotations

import os
import sys
from typing import Literal, TypeAlias

from everymask.core.machine.cores import usable_cores
from everymask.errors import require

# GNU's OpenMP, which PyTorch brings along, and LLVM's and Intel's.
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
AWAKE = {"GOMP_SPINCOUNT": "30000", "KMP_BLOCKTIME": "1"}
"""They turn in circles for about a millisecond before they fall asleep."""

Waiting: TypeAlias = Literal["asleep", "awake", "as given", "as usual"]
"""How threads wait: fall asleep at once, stay awake for a moment, as the environment says, as their library does."""

_WATCHED = 0.2
_CALM = 30.0


def choose_waiting() -> bool:
    """Let PyTorch's threads wait as suits the machine right now; whether that was still possible.

    Where no other process calculates they stay awake between two pieces of work: small networks, with thousands of
    pieces a step, gain half of their time by it. Where another process wants a core they would hold it up, and each
    other, so there they sleep. docs/benchmarks.md has the numbers. Looking takes 0.2 seconds.

    OpenMP reads these variables when it is loaded, so nothing happens once torch is imported; nor where one of them is
    set in the environment.
    """
    if "torch" in sys.modules:
        return False
    if not any(name in os.environ for name in ASLEEP):
        os.environ.update(ASLEEP if _others_calculate() else AWAKE)
    return True


def waiting() -> Waiting:
    """How the threads of this process wait, as `choose_waiting` or the environment has set it."""
    found = {name: os.environ[name] for name in ASLEEP if name in os.environ}
    if found == ASLEEP:
        return "asleep"
    if found == AWAKE:
        return "awake"
    return "as given" if found else "as usual"


def require_torch() -> None:
    """Import PyTorch as `everymask.load`, `everymask.train` and the command line do, or say how to install it."""
    choose_waiting()
    require("torch", "train")


def _others_calculate() -> bool:
    """Whether the cores that this process may use do something while it waits."""
    try:
        import psutil
    except ImportError:
        return True
    shares = psutil.cpu_percent(_WATCHED, percpu=True)
    ours = usable_cores()
    return sum(share for core, share in enumerate(shares) if core in ours) > _CALM
