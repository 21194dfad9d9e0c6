"""What launchers say to the processes that they start."""

from __future__ import annotations

import os

import pytest

from everymask.core.processes.launched import launched, rank_timeout, threads_each
from everymask.errors import ConfigError

PLACE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_nobody_started_several() -> None:
    assert launched({}) is None
    assert launched({"RANK": "3"}) is None


def test_as_torchrun_says_it() -> None:
    found = launched(
        {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "a",
         "TORCHELASTIC_RESTART_COUNT": "2", **PLACE}
    )  # fmt: skip
    assert found is not None
    assert (found.index, found.count, found.local, found.locals, found.restarts, found.name) == (5, 8, 1, 4, 2, "a")


def test_a_launch_without_a_name_is_known_by_the_process_that_started_it() -> None:
    found = launched({"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none", **PLACE})
    assert found is not None
    assert found.name == f"process {os.getppid()}"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"MASTER_PORT": "", "MASTER_ADDR": ""}, "MASTER_ADDR and MASTER_PORT"),
        ({"RANK": "x"}, "RANK must be a whole number"),
        ({"RANK": "2"}, "number 2 of 2"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "2 of 2 on its machine"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be a whole number from 1 on"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        launched({"RANK": "0", "WORLD_SIZE": "2", **PLACE} | changes)


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    launch = launched({"RANK": "0", "WORLD_SIZE": "6", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3", **PLACE})
    assert launch is not None
    assert threads_each(launch, {}) == 5
    assert threads_each(launch, {"OMP_NUM_THREADS": "1"}) == 5, "torchrun's own"
    assert threads_each(launch, {"OMP_NUM_THREADS": "4"}) is None


def test_how_long_one_may_keep_the_others_waiting() -> None:
    assert rank_timeout({}) == 600
    assert rank_timeout({"EVERYMASK_RANK_TIMEOUT": "2.5"}) == 2.5
    for text in ("0", "-3", "soon", "nan"):
        with pytest.raises(ConfigError, match="EVERYMASK_RANK_TIMEOUT"):
            rank_timeout({"EVERYMASK_RANK_TIMEOUT": text})
