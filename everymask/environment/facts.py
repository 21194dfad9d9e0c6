"""What is known of a machine: values, and nothing that asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from everymask.core.threads import Waiting
from everymask.environment.extras import ExtraHere

if TYPE_CHECKING:
    from everymask.environment.calculating import Calculating


@dataclass(frozen=True, slots=True)
class Processor:
    """`cores` of the machine, the `usable` ones of this process, and how many cores' time a container is `granted`
    (None: all); `vectors` of AVX2, AVX-512 and NEON.
    """

    name: str
    kind: str
    vectors: tuple[str, ...]
    cores: int
    usable: int
    granted: float | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: of the machine (`total`, `available` now; None where that cannot be known), what a container is `granted`
    (None: all), and of shared memory, by which processes hand over pictures.
    """

    total: int | None
    available: int | None
    granted: int | None
    shared: int | None


@dataclass(frozen=True, slots=True)
class Cache:
    """Where files are kept that can be had again: `bytes` of so many `files` (of the first 100,000 if there are more);
    whether it is `writable`. A user without a home has none: `folder` is empty.
    """

    folder: str
    bytes: int
    files: int
    writable: bool


@dataclass(frozen=True, slots=True)
class Environment:
    """All of it.

    `versions` are those of Python and of the packages that everymask always needs; `calculating` is what PyTorch says,
    None where it is missing, and then `without_torch` says why. `settings` are the variables of the environment that
    decide speed and what is fetched, as they were set before. `nvidia` says that there is a driver of NVIDIA's.
    """

    everymask: str
    versions: dict[str, str | None]
    extras: tuple[ExtraHere, ...]
    system: str
    processor: Processor
    memory: Memory
    waiting: Waiting
    calculating: Calculating | None
    without_torch: str
    nvidia: bool
    cache: Cache
    offline: bool
    settings: dict[str, str]
