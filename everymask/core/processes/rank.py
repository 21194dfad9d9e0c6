"""Which of several processes a process is, and what they say to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from everymask.errors import ConfigError, FellowError

T = TypeVar("T")
R = TypeVar("R")
_WELL, _FAILED, _STOPPED = 0.0, 1.0, 2.0


class Exchange(Protocol):
    """How processes talk. All of them call the same methods in the same order, and each waits for the others."""

    def told(self, value: object) -> Any:
        """The value that the first process has."""

    def most(self, numbers: Sequence[float]) -> tuple[float, ...]:
        """Of each number the largest that a process has."""

    def means(self, numbers: Sequence[float]) -> list[float]:
        """Of each number the mean over the processes."""

    def collected(self, value: object) -> list[Any]:
        """At the first process the values of all, in their order; elsewhere nothing."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Number `index` of the `count` processes that work together. The first leads: it alone writes.

    `local` is its number on its machine. Without an `exchange` it knows which share of the work is its own, and talks
    to nobody.
    """

    index: int = 0
    count: int = 1
    local: int = 0
    exchange: Exchange | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"a rank must be from 0 to below {self.count}, but got {self.index}")

    @property
    def leads(self) -> bool:
        """Whether it is the first."""
        return self.index == 0

    def apart(self) -> Rank:
        """The same share of the work, done without a word to the others."""
        return replace(self, exchange=None)

    def agreed(self, value: T) -> T:
        """What the first process makes of a question that each would answer by its own clock or scores."""
        return value if self.exchange is None else self.exchange.told(value)

    def told(self, answer: Callable[[], T]) -> T:
        """What the first process finds out, while the others wait."""
        return self.agreed(answer() if self.leads or self.exchange is None else None)  # type: ignore[return-value]

    def most(self, *numbers: float) -> tuple[float, ...]:
        """Of each number the largest that any process has."""
        return numbers if self.exchange is None else self.exchange.most(numbers)

    def means(self, rows: list[list[float]]) -> list[list[float]]:
        """Of each number of a table the mean over the processes; not finite where any of them is not."""
        if self.exchange is None:
            return rows
        flat = self.exchange.means([number for row in rows for number in row])
        width = len(rows[0])
        return [flat[start : start + width] for start in range(0, len(flat), width)]

    def collected(self, value: T) -> list[T]:
        """At the first process what each has, in their order; elsewhere what this one has."""
        return [value] if self.exchange is None else self.exchange.collected(value) or [value]

    def all_well(self, *, failed: bool) -> None:
        """`FellowError` where another process `failed`; nobody goes on behind this."""
        (any_failed,) = self.most(float(failed))
        if any_failed and not failed:
            raise FellowError("another process failed")

    @contextmanager
    def first_on_machine(self) -> Iterator[None]:
        """The first process of each machine does what is in the block before the others there begin.

        What it fetches, unpacks and remembers, they find.
        """
        if self.local:
            self.most(0.0)
        yield
        if not self.local:
            self.most(0.0)

    def combined(self, work: Callable[[], T], combine: Callable[[list[T]], R]) -> R:
        """What the first process makes of what `work` gives at each, in their order; all get it.

        Where one fails the others raise `FellowError`, and where one is stopped all are: `KeyboardInterrupt`.
        """
        if self.exchange is None:
            return combine([work()])
        own, failure = None, None
        try:
            own = work()
        except (Exception, KeyboardInterrupt) as error:
            failure = error
        state = _WELL if failure is None else _FAILED if isinstance(failure, Exception) else _STOPPED
        (worst,) = self.most(state)
        if failure is not None:
            raise failure
        if worst != _WELL:
            raise KeyboardInterrupt if worst == _STOPPED else FellowError("another process failed")
        parts = self.exchange.collected(own)
        return self.told(lambda: combine(parts))


ALONE = Rank()
