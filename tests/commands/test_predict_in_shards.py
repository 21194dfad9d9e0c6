"""`everymask predict --engine`: as without it, but in shards, which survive what dies."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from everymask.cli import run
from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.pictures.read import write_image
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.results.shards.pictures import FoundPicture
from everymask.results.shards.plan import read_plan
from everymask.results.shards.store import LocalStore
from everymask.results.shards.tables import table_of
from tests.commands.small_models import MAPS, OBJECTS, make_model
from tests.quick import quick

COUNT = 12


@pytest.fixture(scope="module", params=quick([MAPS, OBJECTS], [OBJECTS]), ids=["maps", "objects"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), request.param, 32)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), MAPS, 32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for k in range(COUNT):
        write_image(folder / f"{k % 3}" / f"{k}.png", rng(k, "stop").integers(255, size=(32, 32)).astype(np.uint8))
    (folder / "0" / "bad.png").write_bytes(b"no picture")
    return folder


def call(*words: object) -> int:
    return run(["predict", *map(str, words)])


def in_shards(*words: object) -> int:
    return call(*words, "--engine", "local", "--workers", 1, "--shard-size", 5, "--table", "coco", "--min-score", 0)


def tables(out: Path) -> dict[str, FoundPicture]:
    plan = read_plan(LocalStore(out))
    assert plan is not None
    found = [picture for shard in range(plan.shards) for picture in table_of(plan.table).read(LocalStore(out), shard)]
    assert max(Counter(picture.file for picture in found).values()) == 1
    return {picture.file: picture for picture in found}


@pytest.mark.slow
def test_it_finds_what_is_found_without_it(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert in_shards(model, pictures, "--out", out, "--json") == 3
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert call(model, pictures, "--out", tmp_path / "plain", "--json", "--min-score", 0) == 3
    plain = json.loads(capsys.readouterr().out)
    assert {**plain, "out": str(out), "failures": 1} == answer
    assert f"1 of {COUNT + 1} pictures could not be predicted; all of these are listed in {out}/errors.csv" in told.err
    found = tables(out)
    assert len(found) == COUNT + 1
    with (tmp_path / "plain" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    area = "area" if "area" in rows[0] else "pixels"
    expected = Counter((row["file"], row["class"], int(row[area])) for row in rows)
    names = ["cat", "dog"]
    assert expected == Counter((p.file, names[r.class_id], r.area) for p in found.values() for r in p.regions)
    with (out / "errors.csv").open(encoding="utf-8", newline="") as stream:
        (error,) = csv.DictReader(stream)
    assert (error["file"], "bad.png" in error["error"]) == ("0/bad.png", True)


def test_it_begins_goes_on_and_refuses_to_mix(
    maps: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    out, source = tmp_path / "out", tmp_path / "list.txt"
    source.write_text("\n".join(str(file) for file in sorted(pictures.rglob("[0-9].png"))), "utf-8")
    assert in_shards(maps, source, "--out", out, "--resume") == 0  # nothing there yet: it begins
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.name != ".lock"}
    assert in_shards(maps, source, "--out", out) == 2
    assert "--resume" in capsys.readouterr().err
    assert in_shards(maps, source, "--out", out, "--resume", "--precision", "exact") == 2
    assert "precision was 'auto', now 'exact'" in capsys.readouterr().err
    other = tmp_path / "other.safetensors"
    module = build(MAPS, 2)
    save_model(
        other, module, Card(MAPS, labels_of(["cat", "dog"]), Preprocess(1, 255.0, (0.2,), (0.2,), Resize(32, 32)))
    )
    assert in_shards(other, source, "--out", out, "--resume") == 2
    assert "weights was" in capsys.readouterr().err
    source.write_text(source.read_text("utf-8") + f"\n{pictures}/1/10.png", "utf-8")
    assert in_shards(maps, source, "--out", out, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 10
    assert "it named 10, now there are 11" in caplog.text
    after = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file() and file.name != ".lock"}
    assert before == after
    assert in_shards(maps, source, "--out", out, "--overwrite", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 11


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--workers", 2], 2, "workers is for predictions in shards"),
        (["--engine", "local", "--address", "auto"], 2, "--engine ray"),
        (["--engine", "local", "--workers", 0], 2, "workers must be at least 1"),
        (["--engine", "local", "--shard-size", 0, "--table", "coco"], 2, "shard-size must be at least 1"),
        (["--engine", "local", "--maps", "tif"], 2, "--pngs"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    maps: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
    code: int,
    said: str,
) -> None:
    assert call(maps, pictures, "--out", tmp_path / "out", *words) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_files_that_are_not_there(maps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("path\ngone.png\nlost.png\n", "utf-8")
    assert in_shards(maps, tmp_path / "list.csv", "--out", tmp_path / "out", "--json") == 3
    told = capsys.readouterr()
    assert json.loads(told.out)["failures"] == 2
    assert "2 of 2 pictures could not be predicted" in told.err
    assert f"{tmp_path}/gone.png: there is no such file" in told.err
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    assert in_shards(maps, tmp_path / "empty.txt", "--out", tmp_path / "none") == 2
    assert "no picture was named" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_parquet_needs_is_said_at_once(
    maps: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert call(maps, pictures, "--out", tmp_path / "out", "--engine", "local") == 4
    told = capsys.readouterr().err
    assert 'pip install "everymask[ray]"' in told
    assert "--table coco" in told
    assert not (tmp_path / "out").exists()


def test_what_ray_needs_is_said(
    maps: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert call(maps, pictures, "--out", tmp_path / "out", "--engine", "ray", "--table", "coco") == 4
    assert 'pip install "everymask[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_predictions_in_shards_are_judged_like_a_model(
    tmp_path: Path, tiny: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, pictures = tmp_path / "out", shapes / "images" / "val"
    every = ["--min-score", 0, "--duplicate-iou", 1, "--precision", "exact"]
    assert call(tiny, pictures, "--out", out, "--engine", "local", "--workers", 1, "--table", "coco", *every) == 0
    capsys.readouterr()
    scores = []
    for judged in (out, tiny):
        words = ["evaluate", str(judged), str(shapes), "--split", "val", "--json", "--precision", "exact"]
        assert run(words) == 0
        scores.append({**json.loads(capsys.readouterr().out), "seconds_per_picture": 0})
    assert scores[0] == scores[1]


# A worker kills itself, or its driver, when it has written a second block: no clock is involved. Every Python process
# imports this when it begins.
FAULT = """
import os, signal, sys
from pathlib import Path
from everymask.results.shards import work
from everymask.results.shards.store import LocalStore

plain, folder = LocalStore.write, Path({folder!r})
if "everymask" in sys.orig_argv and "predict" in sys.orig_argv:
    (folder / "driver").write_text(str(os.getpid()))
def write(store, name, data):
    plain(store, name, data)
    if name.startswith("parts/") and name.endswith("001.json") and (folder / "fault").exists():
        (folder / "fault").unlink()
        os.kill(os.getpid() if {victim!r} == "worker" else int((folder / "driver").read_text()), signal.SIGKILL)
LocalStore.write = write
work.BLOCK = 2
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("victim", ["worker", "driver"])
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_it_survives_a_kill(maps: Path, pictures: Path, tmp_path: Path, engine: str, victim: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="Ray comes with everymask[ray]")
    (tmp_path / "fault").touch()
    (tmp_path / "sitecustomize.py").write_text(FAULT.format(victim=victim, folder=str(tmp_path)), "utf-8")
    out = tmp_path / "out"
    words = ["predict", maps, pictures, "--out", out, "--engine", engine, "--workers", "2", "--shard-size", "7"]
    words += ["--table", "coco", "--resume", "--min-score", "0"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "everymask", *map(str, words)]
    first = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert not (tmp_path / "fault").exists()
    if victim == "driver":
        assert first.returncode == -signal.SIGKILL, first.stderr
        command[command.index(engine)] = "local"  # which goes on where the other was stopped
        first = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    elif engine == "local":
        assert "a worker process ended by signal 9" in first.stderr
    assert first.returncode == 3, first.stderr
    assert f"1 of {COUNT + 1} pictures could not be predicted" in first.stderr
    found = tables(out)
    assert len(found) == COUNT + 1
    assert {name for name, picture in found.items() if picture.error} == {"0/bad.png"}
    assert not (out / "parts").exists()
    assert [file for file in out.rglob(".*") if file.name != ".lock"] == []


@pytest.mark.slow
def test_killed_workers_and_drivers_lose_and_double_nothing() -> None:
    """What `python -m benchmarks.engines` measures, in short; the time is not judged."""
    words = ["--pictures", "600", "--shard-size", "100", "--every", "2", "--drivers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engines", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["missing"], found["twice"], found["other"], found["failed"]) == (0, 0, 0, 1)
    assert found["drivers_killed"] == 1
