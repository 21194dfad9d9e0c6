"""Which pictures make a shard, and how that is written down."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from everymask.core.labels import labels_of
from everymask.errors import ConfigError, DataError
from everymask.results.shards.plan import Plan, check_same, digest_listing, read_paths, read_plan, write_plan
from everymask.results.shards.store import LocalStore, open_store

PATHS = [f"/pictures/{number:05}.png" for number in range(95)] + ["/odd/\udcff\n.png", "/odd/ü.png"]


def planned(store: LocalStore, paths: Iterable[str], size: int = 10) -> Plan:
    def describe(pictures: int, shards: int, listed: int, digest: str) -> Plan:
        about = {"model": "m", "min_score": 0.5}
        return Plan(pictures, shards, size, listed, digest, "coco", "instance", labels_of(["cat"]), about)

    return write_plan(store, paths, size, describe)


def test_every_picture_is_in_one_shard_whatever_the_order(tmp_path: Path) -> None:
    first, second = LocalStore(tmp_path / "a"), open_store(f"file://{tmp_path / 'b'}")
    plan = planned(first, PATHS)
    shuffled = [*PATHS, *PATHS[:7]]
    random.Random(0).shuffle(shuffled)
    assert isinstance(second, LocalStore)
    again = planned(second, shuffled)
    assert (plan.pictures, plan.shards, plan.listed) == (97, 10, 97)
    assert (again.pictures, again.shards, again.listed) == (97, 10, 104)
    shards = [read_paths(first, shard) for shard in range(10)]
    assert shards == [read_paths(second, shard) for shard in range(10)]
    assert [len(shard) for shard in shards] == [10] * 9 + [7]
    assert sorted(path for shard in shards for path in shard) == sorted(PATHS)
    assert read_plan(first) == plan


def test_a_listing_is_known_again_by_its_digest(tmp_path: Path) -> None:
    plan = planned(LocalStore(tmp_path), PATHS)
    assert digest_listing(reversed(PATHS)) == (plan.listed, plan.digest)
    assert digest_listing(PATHS[1:])[1] != plan.digest
    assert digest_listing([*PATHS[1:], "/pictures/other.png"])[1] != plan.digest


def test_it_goes_on_only_with_the_same(tmp_path: Path) -> None:
    plan = planned(LocalStore(tmp_path), PATHS)
    check_same(plan, {"model": "m", "min_score": 0.5}, "coco", "out")
    with pytest.raises(ConfigError, match=r"min_score was 0\.5, now 0\.7; table was 'coco', now 'parquet'"):
        check_same(plan, {"model": "m", "min_score": 0.7}, "parquet", "out")


def test_damage_is_found_before_use(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    planned(store, PATHS)
    for name, read in (("plan.json", lambda: read_plan(store)), ("plan/00003.json", lambda: read_paths(store, 3))):
        file = tmp_path / name
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"p", b"q", 1))
        with pytest.raises(DataError, match="damaged"):
            read()
        file.write_bytes(whole[:-5])
        with pytest.raises(DataError, match="damaged"):
            read()
        file.write_bytes(whole)
        read()
    (tmp_path / "plan" / "00003.json").unlink()
    with pytest.raises(DataError, match="gone"):
        read_paths(store, 3)


@pytest.mark.slow
def test_planning_does_not_hold_the_listing(tmp_path: Path) -> None:
    """Eight million bytes of paths."""
    paths = (f"/{number:0160}.png" for number in range(50_000))
    tracemalloc.start()
    try:
        planned(LocalStore(tmp_path), paths, size=5000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6_000_000
