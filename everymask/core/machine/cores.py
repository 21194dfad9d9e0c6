"""How many cores, and how much memory, this process may use of those that the machine has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
# Version 1 says "no limit" by a number that no machine has.
_NO_LIMIT = 1 << 60


def usable_cores() -> frozenset[int]:
    """The numbers of the cores on which this process may run."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return frozenset(allowed)


def granted_cores(groups: Path = _GROUPS) -> float | None:
    """How many cores' time a container may spend (cgroup quota of Linux, version 2 or 1); None where nothing limits it.

    PyTorch does not know this limit, and starts a thread for each core.
    """
    with suppress(OSError, ValueError):
        quota, period = (groups / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def granted_memory(groups: Path = _GROUPS) -> int | None:
    """How many bytes of memory a container may take (cgroup limit of Linux); None where nothing limits it."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limit = int((groups / file).read_text())
            return limit if limit < _NO_LIMIT else None
    return None
