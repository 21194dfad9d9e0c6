"""The arithmetic of paired measurements; what a measurement gives is not tested, because it is never twice the same."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from benchmarks.compare import Bar, Comparison, Disagreement, Memory, compare, peak_memory


def comparison(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Comparison:
    return Comparison("masks", "a peer", ours, theirs, "equal")


def test_the_ratio_is_that_of_the_medians_and_its_spread_that_of_the_pairs() -> None:
    # The third pair met a busy moment: it changes neither the ratio nor, because both slowed down, the spread.
    found = comparison((1.0, 2.0, 10.0, 1.5, 2.0), (4.0, 8.0, 40.0, 6.0, 8.0))
    assert found.medians == (2.0, 8.0)
    assert found.ratio == 4.0
    assert found.quartiles == (4.0, 4.0)


def test_quartiles_are_of_the_ratios_and_not_the_ratio_of_quartiles() -> None:
    found = comparison((1.0, 1.0, 1.0, 1.0, 1.0), (1.0, 5.0, 2.0, 4.0, 3.0))
    assert found.quartiles == (2.0, 4.0)
    assert comparison((1.0, 2.0, 4.0), (4.0, 4.0, 4.0)).quartiles == (1.5, 3.0)


@pytest.mark.parametrize(
    ("measured", "at_most", "reached"),
    [(15.0, False, True), (14.99, False, False), (0.5, True, True), (15.01, True, False), (15.0, True, True)],
)
def test_a_bar_is_reached_on_its_own_side_and_at_the_limit(measured: float, at_most: bool, reached: bool) -> None:
    assert Bar("speed", measured, 15.0, at_most=at_most).reached is reached


def test_both_sides_run_in_turn_after_the_warm_up_and_who_goes_first_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # all that other tests left behind would be looked through 20 times
    calls: list[str] = []
    found = compare(
        "letters",
        lambda: calls.append("o"),
        lambda: calls.append("t"),
        peer="a peer",
        same=lambda _ours, _theirs: "equal",
        rounds=4,
        warmup=2,
    )
    assert "".join(calls) == "otot" + "ottootto"
    assert len(found.ours) == len(found.theirs) == 4
    assert found.agreement == "equal"


def test_answers_that_differ_are_not_timed() -> None:
    calls: list[int] = []

    def same(ours: int, theirs: int) -> str:
        raise Disagreement(f"{ours} and {theirs}")

    def one() -> int:
        calls.append(1)
        return 1

    with pytest.raises(Disagreement, match="1 and 2"):
        compare("numbers", one, lambda: 2, peer="a peer", same=same)
    assert calls == [1]


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, 0)])
def test_a_comparison_needs_a_round_and_a_warm_up(rounds: int, warmup: int) -> None:
    with pytest.raises(ValueError, match=f"{rounds} and {warmup}"):
        compare("x", int, int, peer="a peer", same=lambda *_: "", rounds=rounds, warmup=warmup)


def test_memory_is_a_part_of_the_peers() -> None:
    assert Memory("masks", "a peer", ours=20, theirs=80).ratio == 0.25


def prepare_bytes(held: int, count: int) -> Callable[[], object]:
    """A call that fills `count` bytes for a moment, after `held` bytes of input."""
    inputs = np.ones(held, np.uint8)
    return lambda: np.ones(count, np.uint8).sum() + inputs[0]


def test_peak_memory_is_what_the_call_adds_and_not_its_inputs() -> None:
    count = 64_000_000
    found = peak_memory(partial(prepare_bytes, 200_000_000, count))
    assert 0.95 * count < found < 1.5 * count


def fail() -> Callable[[], object]:
    raise SystemExit(3)


def test_a_process_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        peak_memory(fail)
