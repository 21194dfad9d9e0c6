"""Masks survive the way through their edges, many at once and whatever the size of the groups."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.forms import edges as module
from everymask.core.forms.edges import crops_from_edges, edges_from_changes, edges_from_crops, edges_from_spans, groups
from everymask.core.masks import Masks


def many_masks(seed: int) -> tuple[Masks, np.ndarray]:
    """Masks of all densities in one picture; some empty, some full, some reach the last pixel."""
    rng = np.random.default_rng(seed)
    size = (1, 1) if seed == 0 else tuple(rng.integers(1, 30, 2))
    dense = rng.random((23, *size)) < rng.choice([0, 0.02, 0.5, 0.98, 1], (23, 1, 1))
    return Masks.from_dense(dense), dense


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("room", [1, 90, 2**18])
def test_edges_and_back(seed: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GROUP", room)
    masks, dense = many_masks(seed)
    edges = edges_from_crops(masks.windows, masks.bits, masks.starts, masks.size)
    for index, mask in enumerate(dense):
        flat = np.concatenate([[False], mask.T.reshape(-1), [False]])
        expected = np.flatnonzero(flat[1:] != flat[:-1])
        assert edges.places[edges.starts[index] : edges.starts[index + 1]].tolist() == expected.tolist()
    windows, bits, starts = crops_from_edges(edges)
    assert np.array_equal(windows, masks.windows) and windows.dtype == np.int32
    assert np.array_equal(bits, masks.bits) and bits.dtype == np.bool_
    assert np.array_equal(starts, masks.starts) and starts.dtype == np.int64


def test_two_changes_at_one_place_cancel_out() -> None:
    places = np.array([4, 4, 4, 7, 7, 9, 9, 11, 0, 0, 11, 12])
    owners = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    edges = edges_from_changes(places, owners, 5, (3, 4))
    assert edges.places.tolist() == [4, 9, 9, 11, 11, 12]
    assert edges.starts.tolist() == [0, 2, 4, 4, 6, 6]
    assert edges.to_runs()[0].tolist() == [4, 5, 3, 9, 2, 1, 12, 11, 1, 12]
    assert edges.to_runs()[1].tolist() == [0, 3, 6, 7, 9, 10]


def test_touching_spans_become_one() -> None:
    spans = [(np.array([1, 5]), np.array([5, 6])), (np.zeros(0, np.int64), np.zeros(0, np.int64))]
    assert edges_from_spans(spans, (3, 4)).places.tolist() == [1, 6]
    assert edges_from_spans(spans, (3, 4)).to_runs()[0].tolist() == [1, 5, 6, 12]
    assert edges_from_spans([], (3, 4)).to_strings() == []


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([0, 0], [(0, 2)]),
        ([4, 6, 1, 0, 99, 2], [(0, 2), (2, 4), (4, 5), (5, 6)]),
        ([99], [(0, 1)]),
    ],
)
def test_groups_hold_at_most_the_limit(sizes: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(groups(np.array(sizes, np.int64), 10)) == expected
