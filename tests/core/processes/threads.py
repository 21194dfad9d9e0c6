"""Threads in place of processes: an exchange for tests, which takes no time to start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from everymask.core.processes.rank import Rank

T = TypeVar("T")
TIMEOUT = 20


class Threads:
    """What `count` threads say to each other."""

    def __init__(self, count: int) -> None:
        self.barrier, self.said = threading.Barrier(count, timeout=TIMEOUT), dict[int, Any]()

    def round(self, index: int, value: object) -> list[Any]:
        self.said[index] = value
        self.barrier.wait()
        found = [self.said[key] for key in sorted(self.said)]
        self.barrier.wait()
        return found


class OfThreads:
    """The exchange of one of them."""

    def __init__(self, threads: Threads, index: int) -> None:
        self.threads, self.index = threads, index

    def told(self, value: object) -> Any:
        return self.threads.round(self.index, value)[0]

    def most(self, numbers: Sequence[float]) -> tuple[float, ...]:
        return tuple(map(max, zip(*self.threads.round(self.index, numbers), strict=True)))

    def means(self, numbers: Sequence[float]) -> list[float]:
        rows = self.threads.round(self.index, numbers)
        return [sum(column) / len(rows) for column in zip(*rows, strict=True)]

    def collected(self, value: object) -> list[Any]:
        found = self.threads.round(self.index, value)
        return found if self.index == 0 else []


def in_threads(count: int, work: Callable[[Rank], T]) -> list[T | BaseException]:
    """What `work` gives, or raises, as each of `count` ranks."""
    threads = Threads(count)

    def one(index: int) -> T | BaseException:
        try:
            return work(Rank(index, count, index, OfThreads(threads, index)))
        except (Exception, KeyboardInterrupt) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
