"""Ctrl-C and termination: a request to stop after the step, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """`number` is that of the signal that asked for a stop, 0 while none has."""

    def __init__(self) -> None:
        self.number: int = 0
        self._patient = True

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block the first signal raises `KeyboardInterrupt` too."""
        self._patient = False
        try:
            yield
        finally:
            self._patient = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self.number = bool(self.number), number
        if again or not self._patient:
            raise KeyboardInterrupt


_caught: ContextVar[Interrupt | None] = ContextVar("caught", default=None)


@contextmanager
def catch_interrupts() -> Iterator[Interrupt]:
    """Within the block the first SIGINT or SIGTERM is noted; the second raises `KeyboardInterrupt`.

    Outside the main thread, where Python delivers no signals, nothing is caught.
    """
    interrupt = Interrupt()
    _caught.set(interrupt)
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.signal(number, interrupt._ask) for number in _SIGNALS}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_if_asked(*_: object) -> None:
    """`KeyboardInterrupt` where a stop was asked for: between the parts of what several processes do together.

    Anywhere else it would leave the others waiting for an answer.
    """
    interrupt = _caught.get()
    if interrupt is not None and interrupt.number:
        raise KeyboardInterrupt


def ignore_in_worker() -> None:
    """For loader processes: Ctrl-C, and a termination of all processes at once, are the parent's business.

    So the first SIGTERM is ignored, and the parent can still stop after its step and save; it ends them in another way.
    The second one, as when the parent gives a process up, works as usual.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)


def _ignore_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
