"""What `torchrun`, or another launcher, says to each process that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from everymask.core.machine.cores import usable_cores
from everymask.errors import ConfigError, printable

_WANTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_ONE_THREAD = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Launch:
    """Process `index` of `count`, and `local` of the `locals` that run on its machine.

    `name` is that of the launch, which restarted processes share; it was restarted `restarts` times.
    """

    index: int
    count: int
    local: int
    locals: int
    restarts: int
    name: str


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """As what this process was started; None where nobody started several.

    The variables are those of PyTorch: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and LOCAL_RANK and
    LOCAL_WORLD_SIZE where several run on a machine. `ConfigError` names those that are missing or no numbers.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    missing = [name for name in _WANTED if not environment.get(name)]
    if missing:
        raise ConfigError(
            f"RANK and WORLD_SIZE say that several processes were started, but {' and '.join(missing)} is not set",
            hint="start them with torchrun, or set it (docs/distributed.md)",
        )

    def number(name: str, otherwise: int, least: int = 0) -> int:
        text = environment.get(name, str(otherwise))
        if not text.isdecimal() or int(text) < least:
            raise ConfigError(f"{name} must be a whole number from {least} on, but it is {printable(text)!r}")
        return int(text)

    index, count = number("RANK", 0), number("WORLD_SIZE", 1, 1)
    local, here = number("LOCAL_RANK", 0), number("LOCAL_WORLD_SIZE", number("LOCAL_RANK", 0) + 1, 1)
    if index >= count or local >= here:
        raise ConfigError(
            f"a process cannot be number {index} of {count}, and {local} of {here} on its machine",
            hint="RANK counts from 0 to below WORLD_SIZE, LOCAL_RANK to below LOCAL_WORLD_SIZE",
        )
    name = environment.get("TORCHELASTIC_RUN_ID", "none")
    # What torchrun calls a launch that nobody named; its own process is then what restarted ones share.
    name = f"process {os.getppid()}" if name == "none" else name
    return Launch(index, count, local, here, number("TORCHELASTIC_RESTART_COUNT", 0), name)


def threads_each(launch: Launch, environment: Mapping[str, str] = os.environ) -> int | None:
    """How many threads each process has to itself, of the cores that it may use; None: as the environment says.

    `torchrun` sets OMP_NUM_THREADS to 1 for several processes on a machine, which leaves most cores idle where they
    calculate on it: that 1 is not taken for a wish.
    """
    if environment.get(_ONE_THREAD, "1") != "1":
        return None
    return max(1, len(usable_cores()) // launch.locals)


def rank_timeout(environment: Mapping[str, str] = os.environ) -> float:
    """Seconds for which one process may keep the others waiting: EVERYMASK_RANK_TIMEOUT, or ten minutes."""
    text = environment.get("EVERYMASK_RANK_TIMEOUT", "600")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 1e6:
        raise ConfigError(f"EVERYMASK_RANK_TIMEOUT must be seconds from 1 to 1e6, but it is {printable(text)!r}")
    return seconds
