"""What processes that work together know of each other's faults: one of them says what happened, and names who."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch.distributed import Store  # type: ignore[attr-defined]

from everymask.errors import printable

_LOOK = 0.3  # seconds between two looks at the others
_GRACE = 2.0  # seconds that the main thread has to come to an end by itself
_NOTICING = 2.0  # seconds in which all who can will notice that they wait in vain
_READING = 3.0  # seconds in which the others can read what the fault was
_FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Fellow:
    """A process of those that work together; `began` tells it from a later one of the same number."""

    index: int
    host: str
    pid: int
    began: float

    def state(self) -> Literal["runs", "stopped", "gone", "unknown"]:
        """What the system says of it, if it runs on this machine."""
        if self.host != socket.gethostname():
            return "unknown"
        try:
            import psutil
        except ImportError:
            return "unknown"
        try:
            process = psutil.Process(self.pid)
            state = process.status()
            if process.create_time() != self.began or state in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return "gone"
        except psutil.NoSuchProcess:
            return "gone"
        except psutil.Error:
            return "unknown"
        return "stopped" if state == psutil.STATUS_STOPPED else "runs"

    def __str__(self) -> str:
        return f"process {self.index} ({self.pid} on {printable(self.host)})"


@dataclass(frozen=True, slots=True)
class Fault:
    """What ended the work, and which process says so."""

    text: str
    by: int


class Board:
    """A place where each of `count` processes says who it is, that it has left, and what it has noticed."""

    def __init__(self, store: Store, index: int, count: int) -> None:
        self._store = store
        self.index: int = index
        self.count: int = count

    def introduce(self) -> None:
        """Say who this process is, and wait until all have."""
        self._store.set(f"who/{self.index}", json.dumps(asdict(_me(self.index))))
        self.fellows: list[Fellow] = [
            Fellow(**json.loads(self._store.get(f"who/{index}"))) for index in range(self.count)
        ]

    def leave(self) -> None:
        """Say that this process has nothing more to do with the others.

        The first one keeps the board: after a fault it waits some seconds until the others have read what it was.
        """
        with suppress(RuntimeError):  # who keeps the board may have left before
            self._store.set(f"left/{self.index}", "1")
            until = time.monotonic() + _READING
            while not self.index and self.fault() and self._readers() and time.monotonic() < until:
                time.sleep(_LOOK / 3)

    def _readers(self) -> list[Fellow]:
        """Those who have not left, and still can."""
        staying = [fellow for fellow in self.fellows if not self._store.check([f"left/{fellow.index}"])]
        return [fellow for fellow in staying if fellow.state() in ("runs", "unknown")]

    def fault(self) -> Fault | None:
        """What ended the work, if anything did."""
        return Fault(**json.loads(self._store.get(_FAULT))) if self._store.check([_FAULT]) else None

    def claim(self, text: str) -> Fault:
        """The fault, which is this one unless another process was first."""
        fault = json.dumps(asdict(Fault(text, self.index)))
        return Fault(**json.loads(self._store.compare_set(_FAULT, "", fault)))

    def own(self, text: str) -> Fault:
        """Claim a fault of this process. What all have met, such as missing data, the first says, without its name."""
        until = time.monotonic() + 2 * _LOOK
        while self.index and time.monotonic() < until:
            found = self.fault()
            if found is not None:
                return found
            time.sleep(_LOOK / 3)
        return self.claim(f"{self.me}: {text}" if self.index else text)

    @property
    def me(self) -> Fellow:
        """The process that asks."""
        return self.fellows[self.index]

    def lost(self) -> Fellow | None:
        """A process that has ended without a word."""
        for fellow in self.fellows:
            if fellow.state() == "gone" and not self._store.check([f"left/{fellow.index}"]):
                return fellow
        return None

    def missed(self) -> list[Fellow]:
        """Those who do not notice, as this process does, that all wait in vain."""
        self._store.set(f"noticed/{self.index}", "1")
        until = time.monotonic() + _NOTICING
        while True:
            missing = [fellow for fellow in self.fellows if not self._has_noticed(fellow.index)]
            if not missing or time.monotonic() > until:
                return missing
            time.sleep(_LOOK / 3)

    def _has_noticed(self, index: int) -> bool:
        return any(self._store.check([f"{word}/{index}"]) for word in ("noticed", "left"))

    def explain(self) -> Fault:
        """Why this process talks in vain: what another one says, or whom it misses."""
        until = time.monotonic() + 4 * _LOOK
        while time.monotonic() < until:  # who fails by itself says so before it goes
            found = self.fault()
            if found is not None:
                return found
            lost = self.lost()
            if lost is not None:
                return self.claim(ended(lost))
            time.sleep(_LOOK / 3)
        missed = self.missed()
        found = self.fault()
        if found is not None:
            return found
        text = _unanswering(missed)
        stop_for_good(missed)
        return self.claim(text)


class Watch:
    """A thread that looks at the board, and ends this process where another one is lost and the main thread waits.

    `say` is told the fault if no other process says it.
    """

    def __init__(self, board: Board, say: Callable[[str], None]) -> None:
        self._board, self._say = board, say
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="everymask-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK):
            fault = self._look()
            if fault is not None:
                if not self._over.wait(_GRACE):
                    if fault.by == self._board.index:
                        self._say(fault.text)
                    os._exit(4)  # the main thread waits in code that no exception reaches
                return

    def _look(self) -> Fault | None:
        try:
            fault = self._board.fault()
            lost = None if fault else self._board.lost()
            return self._board.claim(ended(lost)) if lost else fault
        except RuntimeError:
            # Who keeps the board is gone. If that is not as it should be the main thread will notice.
            return None


def stop_for_good(fellows: Iterable[Fellow]) -> None:
    """End those of this machine that were stopped: they hear nothing else, and whoever started them would wait."""
    for fellow in fellows:
        if fellow.state() == "stopped":
            with suppress(OSError):
                os.kill(fellow.pid, signal.SIGKILL)


def ended(fellow: Fellow) -> str:
    """What is to be said of one that is lost."""
    return f"{fellow} ended without a word: it was killed, or its memory ran out"


def _unanswering(missed: list[Fellow]) -> str:
    if not missed:
        return "the processes cannot talk to each other any more: look at the network between them"
    stopped = [fellow for fellow in missed if fellow.state() == "stopped"]
    others = [fellow for fellow in missed if fellow not in stopped]
    parts = ((others, "did not answer in time"), (stopped, "was stopped and did not answer in time"))
    return "; ".join(f"{fellow} {what}" for who, what in parts for fellow in who)


def _me(index: int) -> Fellow:
    pid = os.getpid()
    try:
        import psutil

        began: Any = psutil.Process(pid).create_time()
    except ImportError:
        began = 0.0
    return Fellow(index, socket.gethostname(), pid, began)
