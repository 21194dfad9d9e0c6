"""Outlines that cross themselves, against a comparison of every two edges."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.randomness import rng
from everymask.data import crossings
from everymask.data.crossings import crossing_rings


def slowly(ring: np.ndarray) -> bool:
    edges = [(tuple(ring[row - 1]), tuple(ring[row])) for row in range(len(ring))]
    edges = [(start, stop) for start, stop in edges if (stop, start) not in edges]

    def side(a, b, p):
        return np.sign((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))

    return any(
        side(*one, other[0]) * side(*one, other[1]) < 0 and side(*other, one[0]) * side(*other, one[1]) < 0
        for row, one in enumerate(edges)
        for other in edges[:row]
    )


@pytest.mark.parametrize("together", [1, 40, 50_000])
def test_it_equals_the_slow_comparison(monkeypatch, together):
    """Corners on a coarse grid: many touch, repeat and lie on edges."""
    monkeypatch.setattr(crossings, "_EDGES", together)
    monkeypatch.setattr(crossings, "_PAIRS", together)
    random = rng(0, "crossings")
    rings = [random.integers(0, 6, (int(random.integers(3, 9)), 2)).astype(float) for _ in range(400)]
    expected = [slowly(ring) for ring in rings]
    assert list(crossing_rings(rings)) == expected
    assert 100 < sum(expected) < 300


@pytest.mark.parametrize(
    ("ring", "expected"),
    [
        pytest.param([[0, 0], [9, 9], [9, 0], [0, 9]], True, id="C17 bow tie"),
        pytest.param([[0, 0], [9, 0], [9, 9], [0, 9]], False, id="square"),
        pytest.param([[0, 0], [0, 0], [9, 0], [9, 9], [9, 9], [0, 9]], False, id="C17 repeated points"),
        pytest.param([[0, 0], [4, 4], [8, 0], [8, 8], [4, 4], [0, 8]], False, id="two parts that touch in a point"),
        pytest.param([[0, 0], [9, 0], [9, 9], [0, 9], [0, 0], [3, 3], [3, 6], [6, 6], [6, 3], [3, 3]], False,
                     id="hole with a bridge"),
        pytest.param([[0, 0], [9, 0], [9, 9], [0, 9], [0, 0], [20, 15], [25, 15], [22, 19], [20, 15]], False,
                     id="part behind a bridge that leaves the first"),
        pytest.param([[0, 0], [5, 0], [2, 0]], False, id="C17 no area"),
    ],
)  # fmt: skip
def test_what_counts_as_crossing(ring, expected):
    assert list(crossing_rings([np.array(ring, float)])) == [expected]


def test_long_rings_are_passed_over(monkeypatch):
    monkeypatch.setattr(crossings, "MAX_POINTS", 3)
    bow, triangle = np.array([[0, 0], [9, 9], [9, 0], [0, 9.0]]), np.array([[0, 0], [9, 9], [9, 0.0]])
    assert list(crossing_rings([bow, triangle])) == [False, False]
    assert list(crossing_rings([])) == []
