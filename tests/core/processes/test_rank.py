"""What processes agree on, and that none waits for one that failed."""

from __future__ import annotations

import math

import pytest

from everymask.core.processes.rank import ALONE, Rank
from everymask.errors import DataError, FellowError
from tests.core.processes.threads import in_threads


def test_one_process_agrees_with_itself() -> None:
    assert ALONE.leads
    assert ALONE.agreed(3) == ALONE.told(lambda: 3) == 3
    assert ALONE.most(1, 2.5) == (1, 2.5)
    assert ALONE.means([[1.0, 2.0]]) == [[1.0, 2.0]]
    assert ALONE.collected("a") == ["a"]
    assert ALONE.combined(lambda: 2, sum) == 2
    with ALONE.first_on_machine():
        pass


def test_several_processes_agree() -> None:
    def work(rank: Rank) -> object:
        asked: list[int] = []
        first = rank.told(lambda: asked.append(rank.index) or "found")
        return first, asked, rank.agreed(rank.index), rank.most(rank.index, -rank.index), rank.collected(rank.index)

    assert in_threads(3, work) == [
        ("found", [0], 0, (2, 0), [0, 1, 2]),
        ("found", [], 0, (2, 0), [1]),
        ("found", [], 0, (2, 0), [2]),
    ]


def test_a_mean_is_not_finite_where_one_number_is_not() -> None:
    def work(rank: Rank) -> object:
        return rank.means([[1.0 + rank.index, math.nan if rank.index else 1.0], [3.0, -math.inf]])

    for found in in_threads(2, work):
        assert isinstance(found, list)
        assert (found[0][0], found[1]) == (1.5, [3.0, -math.inf])
        assert math.isnan(found[0][1])


def test_the_first_of_a_machine_goes_first() -> None:
    order: list[int] = []

    def work(rank: Rank) -> None:
        with rank.first_on_machine():
            order.append(rank.index)

    in_threads(3, work)
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]


def test_all_get_what_the_first_makes_of_all() -> None:
    def work(rank: Rank) -> object:
        return rank.combined(lambda: [rank.index], lambda parts: [number for part in parts for number in part])

    assert in_threads(3, work) == [[0, 1, 2]] * 3


@pytest.mark.parametrize(
    ("failure", "others"), [(DataError("bad.png"), FellowError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
@pytest.mark.parametrize("who", [0, 1])
def test_where_one_fails_none_goes_on(who: int, failure: BaseException, others: type[BaseException]) -> None:
    def fail() -> int:
        raise failure

    def work(rank: Rank) -> object:
        return rank.combined(fail if rank.index == who else lambda: 1, sum)

    found = in_threads(3, work)
    assert found[who] is failure
    assert {type(found[index]) for index in range(3) if index != who} == {others}


def test_a_share_of_the_work_without_a_word() -> None:
    def work(rank: Rank) -> object:
        apart = rank.apart()
        return apart.index, apart.count, apart.most(rank.index), apart.agreed(rank.index)

    assert in_threads(2, work) == [(0, 2, (0,), 0), (1, 2, (1,), 1)]
