"""Two ways to the same answer, timed in turn.

On a machine that does other things as well only ratios mean something, and only between calls that ran next to each
other. So both sides run alternately, and the spread is that of the ratios of neighbouring calls.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np

Ours = TypeVar("Ours")
Theirs = TypeVar("Theirs")


class Disagreement(Exception):
    """The two sides gave different answers, so their times cannot be compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds of each round of everymask and of a peer; round `i` of both ran one after the other.

    `agreement` says how equal the answers were. `count` is how many things (pictures, masks) one call handles.
    """

    what: str
    peer: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    agreement: str
    count: int = 1

    @property
    def medians(self) -> tuple[float, float]:
        """Median seconds of everymask and of the peer."""
        return float(np.median(self.ours)), float(np.median(self.theirs))

    @property
    def ratio(self) -> float:
        """How many times faster everymask is: the peer's median by ours."""
        ours, theirs = self.medians
        return theirs / ours

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the rounds' ratios."""
        low, high = np.quantile(np.divide(self.theirs, self.ours), (0.25, 0.75))
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Memory:
    """Most bytes that one call of everymask and of a peer added to what the process held before it."""

    what: str
    peer: str
    ours: int
    theirs: int

    @property
    def ratio(self) -> float:
        """Our memory as a part of the peer's; below 1 is less."""
        return self.ours / max(self.theirs, 1)


@dataclass(frozen=True, slots=True)
class Bar:
    """What was to be reached: `measured` at least (or, with `at_most`, at most) `limit`, in `unit`."""

    what: str
    measured: float
    limit: float
    unit: str = "×"
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the measured value is on the right side of the limit, the limit included."""
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


def compare(
    what: str,
    ours: Callable[[], Ours],
    theirs: Callable[[], Theirs],
    *,
    peer: str,
    same: Callable[[Ours, Theirs], str],
    rounds: int = 7,
    warmup: int = 1,
    count: int = 1,
) -> Comparison:
    """Run both `warmup` times, check that they agree, then time `rounds` pairs; who goes first changes every round.

    `same(ours(), theirs())` returns in words how equal the answers are, or raises `Disagreement`. A call on a GPU
    waits for its result itself.
    """
    if rounds < 1 or warmup < 1:
        raise ValueError(f"rounds and warmup must be at least 1, but got {rounds} and {warmup}")
    for _ in range(warmup):
        agreement = same(ours(), theirs())
    mine: list[float] = []
    others: list[float] = []
    for index in range(rounds):
        if index % 2:
            others.append(seconds_of(theirs))
            mine.append(seconds_of(ours))
        else:
            mine.append(seconds_of(ours))
            others.append(seconds_of(theirs))
    return Comparison(what, peer, tuple(mine), tuple(others), agreement, count)


def seconds_of(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call; the garbage of earlier calls is collected before, its own result freed after."""
    gc.collect()
    start = perf_counter()
    result = call()
    seconds = perf_counter() - start
    del result
    return seconds


def compare_memory(
    what: str,
    ours: Callable[[], Callable[[], object]],
    theirs: Callable[[], Callable[[], object]],
    *,
    peer: str,
) -> Memory:
    """`peak_memory` of both sides, each in a process of its own."""
    return Memory(what, peer, peak_memory(ours), peak_memory(theirs))


def peak_memory(prepare: Callable[[], Callable[[], object]]) -> int:
    """Most bytes of resident memory that a call needs on top of its inputs, measured in a fresh process; Linux only.

    `prepare()` makes the inputs and returns the call. It must be importable: a function of a module, or a
    `functools.partial` of one.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_peak, args=(prepare, sender))
    child.start()
    sender.close()
    try:
        return int(receiver.recv())
    except EOFError:
        child.join()
        raise RuntimeError(f"the process that measured memory ended with exit code {child.exitcode}") from None
    finally:
        child.join()


def _send_peak(prepare: Callable[[], Callable[[], object]], sender: multiprocessing.connection.Connection) -> None:
    call = prepare()
    gc.collect()
    # What the preparation has freed goes back to the system, or the call would live in it unseen (malloc_trim(3)).
    ctypes.CDLL(None).malloc_trim(0)
    # Sets the process's peak back to what it holds at this moment (Linux, proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmHWM")
    result = call()
    sender.send(_status_bytes("VmHWM") - before)
    del result


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
