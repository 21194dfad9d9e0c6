"""Workers that die are replaced, and nothing is counted twice; where they all die it ends with a word."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everymask.core.labels import labels_of
from everymask.engines.local import run_locally
from everymask.engines.shard_work import Job
from everymask.errors import DataError, EverymaskError, MachineError, WeightsError
from everymask.results.shards.plan import Plan, write_plan
from everymask.results.shards.store import LocalStore
from everymask.results.shards.work import BLOCK, finished, read_tally

COUNT, SHARD = 200, 70

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are begun anew there, which takes long")


class Refusing:
    """In place of a model: no picture can be predicted, and one of them ends the process while `fatal` is there."""

    def __init__(self, fatal: Path) -> None:
        self._fatal = fatal

    def attempts(self, sources: Iterable[str], **options: Any) -> Iterator[DataError]:
        for source in sources:
            if source.endswith("17.png") and self._fatal.exists():
                self._fatal.unlink()
                os._exit(7)
            yield DataError(f"{source}: no")


class Load:
    """Gives the worker of a number its model."""

    def __init__(self, folder: Path, fault: str = "") -> None:
        self._folder, self._fault = folder, fault

    def __call__(self, number: int) -> Any:
        if self._fault == "dies":
            os._exit(9)
        if self._fault == "refuses":
            raise WeightsError("not this one", hint="another")
        return Refusing(self._folder / "fatal")


def job_of(folder: Path, fault: str = "") -> Job:
    def describe(pictures: int, shards: int, listed: int, digest: str) -> Plan:
        return Plan(pictures, shards, SHARD, listed, digest, "coco", "semantic", labels_of(["a"]), {})

    paths = [f"/in/{number:03}.png" for number in range(COUNT)]
    plan = write_plan(LocalStore(folder / "out"), paths, SHARD, describe)
    return Job(str(folder / "out"), ("/in",), plan, Load(folder, fault))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_worker_is_replaced(tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    job = job_of(tmp_path)
    (tmp_path / "fatal").touch()
    said = list(run_locally(job, range(job.plan.shards), workers))
    assert not (tmp_path / "fatal").exists()
    assert "a worker process ended with exit code 7" in caplog.text
    assert (sum(done for done, _ in said), sum(failed for _, failed in said)) == (COUNT, COUNT)
    assert finished(job.store) == set(range(job.plan.shards))
    errors = [file for shard in range(job.plan.shards) for file, _ in read_tally(job.store, shard).errors]
    assert sorted(errors) == [f"/in/{number:03}.png" for number in range(COUNT)]
    assert max(done for done, _ in said) <= BLOCK


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("dies", MachineError, "ended 3 times before its model was loaded, the last with exit code 9"),
        ("refuses", WeightsError, "not this one\n    another"),
    ],
)
def test_workers_that_cannot_begin_end_it(tmp_path: Path, fault: str, error: type[EverymaskError], said: str) -> None:
    job = job_of(tmp_path, fault)
    with pytest.raises(error, match=said):
        list(run_locally(job, range(job.plan.shards), 2))
    assert finished(job.store) == set()


def test_nothing_to_do_takes_no_worker(tmp_path: Path) -> None:
    assert list(run_locally(job_of(tmp_path, "dies"), [], 2)) == []
