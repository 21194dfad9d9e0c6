"""Who is let in, who is next, and what is never calculated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from everymask.serving.line import Busy, Late, Line, Ticket
from tests.serving.served import Held


class Counting:
    """Work of one second an answer, which says what it was given."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.groups: list[list[Any]] = []

    def run(self, jobs: Sequence[Any]) -> list[Any]:
        self.groups.append(list(jobs))
        return [ValueError(job) if job == "bad" else f"{job}!" for job in jobs]

    def took(self, seconds: float) -> None:
        pass


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await test()

    asyncio.run(within())


def line_of(held: Held, clock: Clock, lanes: int = 1, batch: int = 1) -> Line:
    return Line(held, lanes, batch, clock=clock)


async def settled() -> None:
    """Callbacks of what is done have run."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("allowed", "lanes", "count"), [(10.0, 1, 6), (10.0, 2, 12), (0.5, 1, 1)])
def test_as_many_are_let_in_as_can_be_answered_in_time(allowed: float, lanes: int, count: int) -> None:
    """0.7 of the time over the seconds of an answer, of which one client gets some four fifths; alone one always."""

    async def test() -> None:
        line, work = line_of(Held(), Clock(), lanes), Counting()
        for _ in range(count):
            line.admit("a", work, allowed)
        with pytest.raises(Busy) as busy:
            line.admit("a", work, allowed)
        assert line.inside == count
        assert busy.value.retry_after >= 1

    in_a_loop(test)


def test_a_greedy_client_leaves_room_for_another_whose_turn_comes_next() -> None:
    async def test() -> None:
        held, work = Held(), Counting()
        line = line_of(held, Clock())
        for number in range(6):
            line.submit(line.admit("greedy", work, 10), f"g{number}")
        with pytest.raises(Busy):
            line.admit("greedy", work, 10)
        line.submit(line.admit("other", work, 10), "o")
        while held.kept:
            held.go()
            await settled()
        assert [group[0] for group in work.groups] == ["g0", "g1", "o", "g2", "g3", "g4", "g5"]

    in_a_loop(test)


def test_late_and_cancelled_requests_are_not_calculated_and_make_room() -> None:
    async def test() -> None:
        held, clock, work = Held(), Clock(), Counting()
        line = line_of(held, clock)
        tickets = [line.admit("a", work, 10) for _ in range(4)]
        answers = [line.submit(ticket, place) for place, ticket in enumerate(tickets)]
        line.leave(tickets[1])
        tickets[2].deadline = 100.5
        clock.now = 101
        held.go()
        await settled()
        held.go()
        await settled()
        assert work.groups == [[0], [3]]
        assert isinstance(answers[2].exception(), Late)
        assert (await answers[0], await answers[3]) == ("0!", "3!")
        assert not answers[1].done()
        assert (line.inside, line.waiting) == (0, 0)

    in_a_loop(test)


def test_whoever_leaves_while_it_is_calculated_holds_its_place_until_then() -> None:
    async def test() -> None:
        held, work = Held(), Counting()
        line = line_of(held, Clock())
        ticket = line.admit("a", work, 10)
        line.submit(ticket, "job")
        line.leave(ticket)
        assert line.inside == 1
        held.go()
        await settled()
        assert line.inside == 0

    in_a_loop(test)


def test_what_waits_together_is_calculated_together_but_never_two_models() -> None:
    async def test() -> None:
        held, one, two = Held(), Counting(), Counting()
        line = line_of(held, Clock(), batch=3)
        for name, work in (("a", one), ("b", one), ("c", two), ("d", one)):
            line.submit(line.admit(name, work, 100), name)
        for _ in range(4):
            held.go()
            await settled()
        assert one.groups == [["a"], ["b", "d"]]
        assert two.groups == [["c"]]

    in_a_loop(test)


def test_one_failure_is_that_of_one_job_and_of_all_where_the_calculation_fails() -> None:
    class Failing(Counting):
        def run(self, jobs: Sequence[Any]) -> list[Any]:
            raise MemoryError

    async def test() -> None:
        held, good, failing = Held(), Counting(), Failing()
        line = line_of(held, Clock(), batch=2)
        first = [line.submit(line.admit("a", good, 100), job) for job in ("x", "bad", "y")]
        last = line.submit(line.admit("a", failing, 100), "z")
        for _ in range(4):
            held.go()
            await settled()
        assert await first[0] == "x!" and await first[2] == "y!"
        with pytest.raises(ValueError, match="bad"):
            await first[1]
        with pytest.raises(MemoryError):
            await last

    in_a_loop(test)


def test_the_patient_come_in_when_there_is_room_and_are_never_late() -> None:
    async def test() -> None:
        held, clock, work = Held(), Clock(), Counting()
        line = line_of(held, clock)
        tickets: list[Ticket] = [line.admit("a", work, 10) for _ in range(6)]
        patient = asyncio.ensure_future(line.admit_patiently("a", work, 10))
        cancelled = asyncio.ensure_future(line.admit_patiently("a", work, 10))
        await settled()
        assert not patient.done()
        cancelled.cancel()
        line.leave(tickets[0])
        await settled()
        ticket = patient.result()
        clock.now = 10_000
        answer = line.submit(ticket, "late")
        held.go()
        await settled()
        assert await answer == "late!"

    in_a_loop(test)
