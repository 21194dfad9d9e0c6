"""A shard goes on behind what is done, and no picture is lost, doubled or tried for ever."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.data.pictures.read import read_label_map, write_image
from everymask.engines.shard_work import Job, png_name, predict_shard
from everymask.errors import DataError, MachineError
from everymask.infer.predictor import Predictor
from everymask.results.shards.pictures import FoundPicture
from everymask.results.shards.plan import Plan, read_plan, write_plan
from everymask.results.shards.store import LocalStore, Store, open_store
from everymask.results.shards.tables import table_of
from everymask.results.shards.work import BLOCK, finished, read_tally
from tests.grey_model import STEP, grey_model
from tests.quick import quick

LABELS = labels_of(["ground", "road"])
COUNT = 2 * BLOCK + 10


class Killed(BaseException):
    """As if the process ended here."""


class Watched:
    """A predictor that remembers what it was asked for, and does to each picture what `act` says."""

    def __init__(self, act: Any = lambda path: None) -> None:
        self.asked: list[str] = []
        self._model, self._act = grey_model(LABELS), act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def attempts(self, sources: Iterable[str], **options: Any) -> Iterator[Any]:
        for source in sources:
            self.asked.append(Path(source).name)
            self._act(Path(source).name)
            yield from self._model.attempts([source])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(COUNT):
        write_image(folder / f"{number:03}.png", np.full((4, 6), STEP * (number % 2), np.uint8))
    return folder


@pytest.fixture
def pictures(drawn: Path, tmp_path: Path) -> list[str]:
    copied = shutil.copytree(drawn, tmp_path / "in")
    return sorted(str(file) for file in copied.iterdir())


def job_of(out: str, paths: list[str], **more: Any) -> Job:
    def describe(pictures: int, shards: int, listed: int, digest: str) -> Plan:
        return Plan(pictures, shards, 1000, listed, digest, "coco", "semantic", LABELS, {})

    store = open_store(out)
    plan = read_plan(store) or write_plan(store, paths, 1000, describe)
    return Job(out, (str(Path(paths[0]).parent),), plan, load=lambda number: pytest.fail("not here"), **more)


def work(job: Job, model: Any) -> tuple[int, int]:
    """How many pictures were said to be done, and to have failed."""
    said = list(predict_shard(job, model, 0))
    return sum(done for done, _ in said), sum(failed for _, failed in said)


def read(store: Store) -> dict[str, FoundPicture]:
    found = table_of("coco").read(store, 0)
    assert max(Counter(picture.file for picture in found).values()) == 1
    return {picture.file: picture for picture in found}


def test_a_shard_is_done_once(pictures: list[str], tmp_path: Path) -> None:
    Path(pictures[5]).write_bytes(b"no picture")
    job, model = job_of(str(tmp_path / "out"), pictures, pngs=True, overlay="jpg"), Watched()
    assert work(job, model) == (COUNT, 1)
    found = read(job.store)
    assert set(found) == {Path(path).name for path in pictures}
    assert "005.png" in found["005.png"].error
    assert all(found[f"{k:03}.png"].regions[0].class_id == k % 2 for k in range(COUNT) if k != 5)
    assert finished(job.store) == {0}
    assert not (tmp_path / "out" / "parts" / "00000").exists()
    tally = read_tally(job.store, 0)
    assert (tally.pictures, tally.failed, tally.unusable, tally.cut) == (COUNT - 1, 1, 0, 0)
    assert tally.pixels == {"ground": 24 * COUNT // 2, "road": 24 * (COUNT // 2 - 1)}
    assert (read_label_map(tmp_path / "out" / "ids" / "007.png.png") == 1).all()
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == COUNT - 1


@pytest.mark.parametrize("victim", quick([0, BLOCK - 1, BLOCK, COUNT - 1], [BLOCK]))
def test_what_is_done_is_not_done_again(pictures: list[str], tmp_path: Path, victim: int) -> None:
    job = job_of(str(tmp_path / "out"), pictures)
    order: list[str] = []

    def kill(name: str) -> None:
        order.append(name)
        if len(order) == victim + 1:
            raise Killed

    with pytest.raises(Killed):
        work(job, Watched(kill))
    again = Watched()
    assert work(job, again) == (COUNT, 0)
    kept = victim // BLOCK * BLOCK
    assert Counter(again.asked) == Counter(Path(path).name for path in pictures) - Counter(order[:kept])
    assert set(read(job.store)) == {Path(path).name for path in pictures}


def test_a_picture_that_ends_its_process_is_given_up_after_three_times(pictures: list[str], tmp_path: Path) -> None:
    job, deaths = job_of(str(tmp_path / "out"), pictures), 0

    def act(name: str) -> None:
        if name in ("007.png", "090.png"):
            raise Killed

    models = []
    while not finished(job.store):
        models.append(Watched(act))
        try:
            work(job, models[-1])
        except Killed:
            deaths += 1
    asked = Counter(name for model in models for name in model.asked)
    assert deaths == asked["007.png"] + asked["090.png"]
    # Three times alone, and before that with its block, beside others and without; the other may be in that block too.
    assert max(asked["007.png"], asked["090.png"]) == 5
    assert min(asked["007.png"], asked["090.png"]) in (3, 4, 5)
    found = read(job.store)
    failed = {name for name, picture in found.items() if picture.error}
    assert failed == {"007.png", "090.png"}
    assert "ended each of the 3 times" in found["007.png"].error
    assert len(found) == COUNT


def test_what_the_program_raises_is_a_line_of_the_table(pictures: list[str], tmp_path: Path) -> None:
    def act(name: str) -> None:
        if name == "042.png":
            raise ZeroDivisionError("of all things")

    job = job_of(str(tmp_path / "out"), pictures)
    assert work(job, Watched(act)) == (COUNT, 1)
    found = read(job.store)
    assert {name: picture.error.partition(": ")[2] for name, picture in found.items() if picture.error} == {
        "042.png": "ZeroDivisionError: of all things"
    }


def test_a_program_that_always_raises_is_stopped(pictures: list[str], tmp_path: Path) -> None:
    def act(name: str) -> None:
        raise RuntimeError("the device is gone")

    with pytest.raises(
        MachineError, match="100 pictures in a row failed, the last by RuntimeError: the device is gone"
    ):
        work(job_of(str(tmp_path / "out"), pictures), Watched(act))


def test_a_full_disk_stops_and_keeps(pictures: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, plain = job_of(str(tmp_path / "out"), pictures), LocalStore.write

    def full(store: LocalStore, name: str, data: bytes) -> None:
        if name.endswith("001.json"):
            raise MachineError("cannot write: No space left on device")
        plain(store, name, data)

    monkeypatch.setattr(LocalStore, "write", full)
    with pytest.raises(MachineError, match="No space"):
        work(job, Watched())
    monkeypatch.setattr(LocalStore, "write", plain)
    again = Watched()
    assert work(job, again) == (COUNT, 0)
    assert len(again.asked) == COUNT - BLOCK


def test_a_damaged_block_is_predicted_again(pictures: list[str], tmp_path: Path) -> None:
    job = job_of(str(tmp_path / "out"), pictures)
    model = Watched(lambda name: stop() if len(model.asked) > COUNT - 5 else None)

    def stop() -> None:
        raise Killed

    with pytest.raises(Killed):
        work(job, model)
    first, second = sorted((tmp_path / "out" / "parts" / "00000").glob("*.json"))
    first.write_bytes(first.read_bytes().replace(b".png", b".pmg", 1))
    second.write_bytes(second.read_bytes()[:-9])
    assert work(job, Watched()) == (COUNT, 0)
    assert set(read(job.store)) == {Path(path).name for path in pictures}


def test_pictures_and_results_may_lie_elsewhere(pictures: list[str]) -> None:
    files = pytest.importorskip("fsspec").filesystem("memory")
    try:
        for path in pictures[:6]:
            files.pipe_file(f"/in/{Path(path).name}", Path(path).read_bytes())
        files.pipe_file("/in/002.png", b"no picture")
        listed = [f"memory://in/{Path(path).name}" for path in pictures[:7]]
        job = replace(job_of("memory://out", listed, pngs=True), sources=("memory://in",))
        model: Predictor = grey_model(LABELS)
        assert work(job, model) == (7, 2)
        found = read(job.store)
        assert "damaged" in found["002.png"].error or "002.png" in found["002.png"].error
        assert "there is no such file" in found["006.png"].error
        assert [found[f"{k:03}.png"].regions[0].class_id for k in (0, 1, 3, 4, 5)] == [0, 1, 1, 0, 1]
        assert finished(job.store) == {0}
        assert job.store.names("ids") == ["000.png.png", "001.png.png", "003.png.png", "004.png.png", "005.png.png"]
        assert job.store.names("parts/00000") == []
        assert json.loads(job.store.read("plan.json") or b"")["pictures"] == 7
    finally:
        for folder in ("/in", "/out"):
            files.rm(folder, recursive=True)


def test_no_two_pictures_share_a_name() -> None:
    shown = ["a.png", "a.jpg", "b/a.png", "b_a.png", "x:y.png", "x?y.png", "/p/q.png", "-r.png", "../a.png"]
    names = [png_name(path) for path in shown]
    assert len({name.casefold() for name in names}) == len(shown)
    assert names[:3] == ["a.png", "a.jpg", "b/a.png"]
    assert not any(name.startswith(("/", "-", ".")) for name in names)


def test_an_unreadable_plan_stops_a_shard(pictures: list[str], tmp_path: Path) -> None:
    job = job_of(str(tmp_path / "out"), pictures)
    (tmp_path / "out" / "plan" / "00000.json").unlink()
    with pytest.raises(DataError, match="gone"):
        work(job, Watched())
