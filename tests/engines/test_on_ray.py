"""What Ray runs, without Ray: whole predictions by it are in tests/commands/test_predict_in_shards.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everymask.core.labels import labels_of
from everymask.engines.on_ray import _Actor, _raised
from everymask.engines.shard_work import Job
from everymask.errors import DataError, WeightsError
from everymask.results.shards.plan import Plan, write_plan
from everymask.results.shards.store import LocalStore
from everymask.results.shards.work import finished


class Refusing:
    def attempts(self, sources: Any, **options: Any) -> Any:
        return (DataError(f"{source}: no") for source in sources)


def job_of(folder: Path, load: Any) -> Job:
    def describe(pictures: int, shards: int, listed: int, digest: str) -> Plan:
        return Plan(pictures, shards, 10, listed, digest, "coco", "semantic", labels_of(["a"]), {})

    plan = write_plan(LocalStore(folder), [f"/in/{number}.png" for number in range(25)], 10, describe)
    return Job(str(folder), ("/in",), plan, load)


def test_an_actor_says_what_it_did_in_rows(tmp_path: Path) -> None:
    actor = _Actor(job_of(tmp_path, lambda number: Refusing()))
    assert actor({"shard": [0, 2]}) == {"shard": [0, 2], "pictures": [10, 5], "failed": [10, 5], "error": ["", ""]}
    assert finished(LocalStore(tmp_path)) == {0, 2}


def test_an_error_crosses_as_a_row(tmp_path: Path) -> None:
    def load(number: int) -> Any:
        raise WeightsError("not this one", hint="another")

    rows = _Actor(job_of(tmp_path, load))({"shard": [1]})
    with pytest.raises(WeightsError, match="not this one\n    another"):
        raise _raised(rows["error"][0])
    assert finished(LocalStore(tmp_path)) == set()
