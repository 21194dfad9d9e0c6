"""Which of several processes a process is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from everymask.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rank:
    """Number `index` of the `count` processes that train one network together. The first leads: it alone writes."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"a rank must be from 0 to below {self.count}, but got {self.index}")

    @property
    def leads(self) -> bool:
        """Whether it is the first."""
        return self.index == 0

    def agreed(self, value: T) -> T:
        """What the first process makes of a question that each would answer by its own clock, signals or scores.

        One process is the first. Several must hand the value over here; what trains several is still to be written.
        """
        return value


ALONE = Rank()
