"""Who is let in and who is next: a queue that is bounded by time, fair between clients, and forgets who has left.

What decides under overload is that a request is refused when it arrives, before its picture
is read and decoded, and that nothing is calculated that nobody waits for any more. All of this lives in one event
loop, so it needs no locks; only `Work.run` is called in threads.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

_SHARE = 0.7
"""Of the time that a client waits, what the estimate may take; the rest is for its error, reading and sending."""
_FREE = 4.0
"""A client may hold so many times what is still free, as of buffers in switches (Choudhury and Hahne 1998): alone it
gets some four fifths, and whoever comes next still finds room."""


class Busy(Exception):
    """It cannot be answered in time; after so many whole seconds it may be."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"busy for {retry_after} s")
        self.retry_after = retry_after


class Late(Exception):
    """It was let in, but its time ran out before its turn came."""


class Work(Protocol):
    """What is calculated in a thread, and how long one answer takes."""

    @property
    def seconds(self) -> float:
        """What one answer took lately."""

    def run(self, jobs: Sequence[Any]) -> list[Any]:
        """An outcome for each job: what became of it, or the exception that says why there is nothing."""

    def took(self, seconds: float) -> None:
        """One more answer took so long."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the line: whose, for how much time, until when; `arrived` is when it came."""

    client: str
    work: Work
    cost: float
    arrived: float
    deadline: float
    job: Any = None
    answer: asyncio.Future[Any] | None = None
    running: bool = False
    gone: bool = False


@dataclass(eq=False)
class Line:
    """The line before `lanes` threads of `executor`, which calculate up to `batch` jobs at once.

    `waited` and `calculated` are told the seconds of each job, and how many jobs each calculation had.
    """

    executor: Executor
    lanes: int
    batch: int
    waited: Callable[[float], None] = lambda _: None
    calculated: Callable[[float, int], None] = lambda _, __: None
    clock: Callable[[], float] = time.monotonic
    _free: int = field(init=False)
    _costs: dict[str, float] = field(init=False, default_factory=dict)
    _inside: set[Ticket] = field(init=False, default_factory=set)
    _waiting: OrderedDict[str, deque[Ticket]] = field(init=False, default_factory=OrderedDict)
    _hoping: deque[asyncio.Future[None]] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self._free = self.lanes

    @property
    def inside(self) -> int:
        """How many were let in and are not done."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many of them wait for their turn."""
        return sum(not ticket.gone for queue in self._waiting.values() for ticket in queue)

    def admit(self, client: str, work: Work, allowed: float) -> Ticket:
        """Let somebody in who waits for `allowed` seconds; `Busy` where the answer would come too late.

        Where nobody is inside one is always let in: there is no better time to come back at.
        """
        cost, limit = work.seconds, _SHARE * allowed * self.lanes
        total, own = sum(self._costs.values()), self._costs.get(client, 0.0)
        fair = own == 0 or own + cost <= _FREE * max(0.0, limit - total)
        if self._inside and (total + cost > limit or not fair):
            raise Busy(max(1, math.ceil((total + cost - limit) / self.lanes)))
        now = self.clock()
        ticket = Ticket(client, work, cost, now, now + allowed)
        self._inside.add(ticket)
        self._costs[client] = own + cost
        return ticket

    async def admit_patiently(self, client: str, work: Work, allowed: float) -> Ticket:
        """Let somebody in as soon as there is room; then there is no hurry."""
        while True:
            try:
                ticket = self.admit(client, work, allowed)
            except Busy:
                room = asyncio.get_running_loop().create_future()
                self._hoping.append(room)
                try:
                    await room
                except asyncio.CancelledError:
                    self._wake()  # what it was told is for the next
                    raise
            else:
                ticket.deadline = math.inf
                return ticket

    def submit(self, ticket: Ticket, job: Any) -> asyncio.Future[Any]:
        """Put a job into the line; the future gets its outcome, or `Late`."""
        ticket.job, ticket.answer = job, asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ticket.client, deque()).append(ticket)
        self._pump()
        return ticket.answer

    def leave(self, ticket: Ticket) -> None:
        """Whoever waits no longer is not calculated, unless that has begun; nothing where it is done."""
        ticket.gone = True
        if not ticket.running:
            self._release(ticket)

    def _release(self, ticket: Ticket) -> None:
        if ticket in self._inside:
            self._inside.discard(ticket)
            self._costs[ticket.client] -= ticket.cost
            if not any(other.client == ticket.client for other in self._inside):
                del self._costs[ticket.client]  # so that rounding never adds up, nor clients that came once
        ticket.job = None
        self._wake()

    def _wake(self) -> None:
        while self._hoping:
            room = self._hoping.popleft()
            if not room.done():
                room.set_result(None)
                break

    def _pump(self) -> None:
        while self._free and (group := self._next_group()):
            self._free -= 1
            for ticket in group:
                ticket.running = True
                self.waited(self.clock() - ticket.arrived)
            jobs, begun = [ticket.job for ticket in group], self.clock()
            done = asyncio.get_running_loop().run_in_executor(self.executor, group[0].work.run, jobs)
            done.add_done_callback(partial(self._finished, group, begun))

    def _next_group(self) -> list[Ticket]:
        group: list[Ticket] = []
        while len(group) < self.batch and (ticket := self._next(group[0].work if group else None)):
            group.append(ticket)
        return group

    def _next(self, work: Work | None) -> Ticket | None:
        """The first of the client whose turn it is, who then goes to the end; of those for the same `work` if given."""
        for client in list(self._waiting):
            queue = self._waiting[client]
            while queue and not self._is_wanted(queue[0]):
                queue.popleft()
            if queue and (work is None or queue[0].work is work):
                ticket = queue.popleft()
                self._waiting.move_to_end(client)
                if not queue:
                    del self._waiting[client]
                return ticket
            if not queue:
                del self._waiting[client]
        return None

    def _is_wanted(self, ticket: Ticket) -> bool:
        """False for those who left, and those who could not be answered before their time is over."""
        if ticket.gone:
            return False
        allowed = ticket.deadline - ticket.arrived
        if self.clock() + min(ticket.cost, (1 - _SHARE) * allowed) > ticket.deadline:
            self._release(ticket)
            if ticket.answer is not None and not ticket.answer.done():
                ticket.answer.set_exception(Late())
            return False
        return True

    def _finished(self, group: list[Ticket], begun: float, done: asyncio.Future[list[Any]]) -> None:
        seconds = self.clock() - begun
        self._free += 1
        self.calculated(seconds, len(group))
        group[0].work.took(seconds / len(group))
        failure = done.exception()
        outcomes = [failure] * len(group) if failure else done.result()
        for ticket, outcome in zip(group, outcomes, strict=True):
            self._release(ticket)
            if ticket.answer is None or ticket.answer.done():
                continue
            if isinstance(outcome, BaseException):
                ticket.answer.set_exception(outcome)
            else:
                ticket.answer.set_result(outcome)
        self._pump()
