"""Runs sorted, filtered, and put together by their seeds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from everymask.errors import ConfigError
from everymask.train.runs.chosen import chosen, read_filter
from everymask.train.runs.found import Runs, read_runs
from everymask.train.runs.seeds import over_seeds
from everymask.train.runs.settings import differing
from tests.train.runs.run_folders import write_run


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    write_run(tmp_path / "a", lr=0.001, score=0.4, digest="aa11")
    write_run(tmp_path / "b", lr=1e-4, score=0.6, digest="aa11")
    write_run(tmp_path / "c", lr=0.01, score=None, how="failed", digest="bb22", encoder="resnet18")
    return read_runs(tmp_path)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["lr=1e-3"], "a"),
        (["lr!=0.001"], "bc"),
        (["lr<0.01"], "ab"),
        (["lr>=1e-3"], "ac"),
        (["score>0.5"], "b"),
        (["state=finished", "lr<=1e-4"], "b"),
        (["state!=finished"], "c"),
        (["data=aa"], "ab"),
        (["time>=30s"], "abc"),
        (["time<0.5m"], ""),
        (["encoder=resnet18"], "c"),
        (["run=b"], "b"),
        (["clip-norm=none"], "abc"),
        (["MB=2"], "abc"),
        ([], "abc"),
    ],
)
def test_only_runs_for_which_all_holds_are_shown(filters: list[str], names: str, runs: Runs) -> None:
    assert "".join(row.folder.name for row in chosen(runs, [read_filter(text) for text in filters], None)) == names


@pytest.mark.parametrize(("key", "names"), [("score", "bac"), ("lr", "bac"), ("run", "abc"), ("data", "abc")])
def test_the_best_score_comes_first_and_else_the_smallest(key: str, names: str, runs: Runs) -> None:
    assert "".join(row.folder.name for row in chosen(runs, [], key)) == names


@pytest.mark.parametrize("text", ["lr", "", "=", "lr>fast", "> 3"])
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_filter(text)


def test_a_mistyped_key_names_the_nearest(runs: Runs) -> None:
    with pytest.raises(ConfigError, match="did you mean score") as mistyped:
        chosen(runs, [], "scor")
    assert "did you mean" in str(mistyped.value)
    with pytest.raises(ConfigError, match="did you mean encoder"):
        chosen(runs, [read_filter("encodr=resnet18")], None)


def test_only_what_differs_is_listed_and_only_among_those_that_have_it(runs: Runs) -> None:
    assert differing([row.settings for row in runs.rows]) == ["encoder", "lr"]
    assert differing([{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}]) == []


def test_seeds_of_the_same_training_are_put_together(tmp_path: Path) -> None:
    for seed, score in enumerate((0.50, 0.54, 0.52)):
        write_run(tmp_path / "a" / f"seed-{seed}", seed=seed, score=score)
    write_run(tmp_path / "a" / "seed-3", seed=3, score=0.1, how="interrupted")
    write_run(tmp_path / "a" / "seed-4", seed=4, score=0.1, digest="other data")
    write_run(tmp_path / "b", seed=0, score=0.9, lr=0.5)
    first, other, alone = over_seeds(read_runs(tmp_path).rows)
    assert [len(group.runs) for group in (first, other, alone)] == [3, 1, 1]
    assert first.mean == pytest.approx(0.52)
    # 0.52 +- 4.3027 * 0.02 / sqrt(3)
    assert (first.low, first.high) == (pytest.approx(0.470317, abs=1e-6), pytest.approx(0.569683, abs=1e-6))
    assert math.isnan(alone.low)
