"""Run-lengths are COCO's own, character for character."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as reference

from everymask.core.forms.rle import (
    check_runs,
    runs_from_string,
    runs_from_strings,
    string_from_runs,
    strings_from_runs,
    union_of_spans,
)
from everymask.core.masks import Masks
from everymask.errors import DataError


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random pictures of all densities, some empty, some full, some a single pixel."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        size = (1, 1) if index % 20 == 0 else rng.integers(1, 30, 2)
        made.append(rng.random(size) < rng.choice([0, 0.02, 0.5, 0.98, 1]))
    return made


def runs_of(picture: np.ndarray) -> np.ndarray:
    """COCO's runs: how many pixels are equal, column after column, those outside first."""
    pixels = picture.ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels, prepend=False))
    return np.diff(changes, prepend=0, append=pixels.size)


def reference_string(picture: np.ndarray) -> bytes:
    return reference.encode(np.asfortranarray(picture.astype(np.uint8)))["counts"]


@pytest.mark.parametrize("picture", pictures(60))
def test_strings_equal_pycocotools(picture: np.ndarray) -> None:
    runs = runs_of(picture)
    string = reference_string(picture)
    assert string_from_runs(runs) == string
    assert runs_from_string(string).tolist() == runs_from_string(string.decode()).tolist() == runs.tolist()
    assert (
        reference.frPyObjects({"size": list(picture.shape), "counts": runs.tolist()}, *picture.shape)["counts"]
        == string
    )


def test_large_runs_survive_the_string() -> None:
    runs = np.array([3, 2**31, 0, 1, 2**31 - 5, 40, 2**36, 7], np.int64)
    assert runs_from_string(string_from_runs(runs)).tolist() == runs.tolist()


def test_many_strings_equal_one_by_one() -> None:
    many = [runs_of(picture) for picture in pictures(20, seed=1)]
    many[3:3] = [np.array([9]), np.zeros(0, np.int64), np.array([2**31, 5])]
    starts = np.cumsum([0, *map(len, many)])
    assert strings_from_runs(np.concatenate(many), starts) == [string_from_runs(runs) for runs in many]
    assert strings_from_runs(np.zeros(0, np.int64), np.zeros(1, np.int64)) == []


def spans_of(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.cumsum(runs_of(picture))
    return edges[0:-1:2], edges[1::2]


def test_union_of_spans_is_the_union_of_pixels() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        layers = rng.random((3, 8, 9)) < 0.3
        layers[:, -1, -1] = False
        union = union_of_spans([spans_of(layer) for layer in layers])
        filled = np.zeros(72, bool)
        for start, end in zip(*union, strict=True):
            filled[start:end] = True
        assert np.array_equal(filled.reshape(9, 8).T, layers.any(axis=0))


def test_empty_runs_between_others_are_allowed() -> None:
    runs = np.array([2, 1, 0, 3, 0, 0, 6])
    check_runs(runs, (3, 4))
    masks = Masks.from_rle([runs, [12], [0, 12], [0, 0, 0, 12, 0]], (3, 4))
    assert np.flatnonzero(masks.to_dense(0).T).tolist() == [2, 3, 4, 5]
    assert masks.areas().tolist() == [4, 0, 12, 12]


def test_many_decoded_strings_equal_one_by_one() -> None:
    many = [reference_string(picture) for picture in pictures(60, seed=4)]
    many[5:5] = [b"", b""]
    runs, starts = runs_from_strings(many)
    assert [runs[a:b].tolist() for a, b in pairwise(starts)] == [runs_from_string(text).tolist() for text in many]


@pytest.mark.parametrize(("bad", "found"), [("a b", "' ' at position 1"), ("ab", "middle"), ("o" * 30 + "0", "31")])
def test_the_bad_one_of_many_strings_is_shown(bad: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as caught:
        runs_from_strings(["12", b"", bad, "34"])
    assert repr(bad)[1:-1] in str(caught.value)


def test_official_results_survive(shared: Path) -> None:
    results = json.loads((shared / "coco_eval" / "instances_val2014_fakesegm100_results.json").read_text())[:300]
    for result in results:
        string, size = result["segmentation"]["counts"].encode(), result["segmentation"]["size"]
        runs = runs_from_string(string)
        check_runs(runs, tuple(size))
        assert string_from_runs(runs) == string


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        pytest.param([3, 2], "got 5", id="C21 sum too small"),
        pytest.param([0, 13], "got 13", id="C22 sum too large"),
        pytest.param([14, -2], "run 1 is -2", id="C22 negative"),
        pytest.param([6.0, 6.0], "float64", id="C22 float"),
        pytest.param(["6", "6"], "<U1", id="C22 words"),
        pytest.param([[6, 6]], r"\[1, 2\]", id="C22 nested"),
        pytest.param([2**62, 2**62, 2**62, 2**62, 12], str(2**64 + 12), id="C22 overflow"),
        pytest.param([], "got 0", id="C21 no runs"),
    ],
)
def test_runs_that_do_not_fill_the_picture_are_refused(runs: list[object], found: str) -> None:
    with pytest.raises(DataError, match=found):
        check_runs(np.asarray(runs), (3, 4))


def test_c23_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(DataError, match="0 x 0"):
        check_runs(np.array([0]), (0, 0))


@pytest.mark.parametrize(
    ("string", "found"),
    [
        pytest.param("12 3", "' ' at position 2", id="C22 space"),
        pytest.param(b"\x00\x01", r"at position 0", id="C22 zero bytes"),
        pytest.param("ab", "stops in the middle", id="C22 cut off"),
        pytest.param("ä", "outside ASCII", id="C22 umlaut"),
        pytest.param("o" * 30 + "0", "31 characters", id="C22 endless run"),
    ],
)
def test_garbage_strings_are_refused(string: str | bytes, found: str) -> None:
    with pytest.raises(DataError, match=found):
        runs_from_string(string)


def test_c24_a_string_escaped_twice_is_refused() -> None:
    """JSON that was escaped twice doubles every backslash, which is a legal character of its own."""
    string = string_from_runs(np.array([44, 6]))
    assert string == b"\\16"
    with pytest.raises(DataError, match="run"):
        check_runs(runs_from_string(string.replace(b"\\", b"\\\\")), (50, 1))
