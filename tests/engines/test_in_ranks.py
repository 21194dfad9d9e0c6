"""Processes that a launcher started share the shards: each is done once, and the first waits, but not for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everymask.core.processes.rank import Rank
from everymask.engines import in_ranks
from everymask.engines.in_ranks import run_share
from everymask.errors import MachineError
from everymask.results.shards.work import finished, read_tally
from tests.engines.test_local import COUNT, Load, job_of


def share(folder: Path, index: int, count: int) -> list[tuple[int, int]]:
    job, model = job_of(folder), Load(folder)(0)
    return list(run_share(job, model, range(job.plan.shards), Rank(index, count)))


def test_the_first_tells_of_all_and_the_others_of_their_own(tmp_path: Path) -> None:
    second, first = share(tmp_path, 1, 2), share(tmp_path, 0, 2)
    done = [sum(pictures for pictures, _ in said) for said in (first, second)]
    store, shards = job_of(tmp_path).store, job_of(tmp_path).plan.shards
    own = [read_tally(store, shard).failed for shard in range(1, shards, 2)]
    assert done == [COUNT, sum(own)]
    assert finished(store) == set(range(shards))


def test_the_first_waits_and_sees_what_is_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(_: float) -> None:
        share(tmp_path, 1, 2)

    monkeypatch.setattr(in_ranks.time, "sleep", look)
    assert sum(pictures for pictures, _ in share(tmp_path, 0, 2)) == COUNT


def test_where_nothing_is_written_any_more_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 400))
    monkeypatch.setattr(in_ranks.time, "sleep", lambda _: None)
    monkeypatch.setattr(in_ranks.time, "monotonic", lambda: next(clock))
    with pytest.raises(MachineError, match=r"1 shard of other processes .* nothing was written for 600 seconds"):
        share(tmp_path, 0, 2)


def test_all_take_their_share_of_what_the_first_sees(tmp_path: Path) -> None:
    """Another may look when a shard is finished already, and would number the rest otherwise."""

    class Told:
        def told(self, value: object) -> Any:
            return [2]

    job = job_of(tmp_path)
    assert list(run_share(job, Load(tmp_path)(0), [0, 1, 2], Rank(1, 2, exchange=Told()))) == []  # type: ignore[arg-type]
    assert not finished(job.store)
