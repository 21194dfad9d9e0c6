"""What lies in a folder of runs: every run with its state, and a reason for every other folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from everymask.errors import ConfigError
from everymask.train.folder.layout import open_folder
from everymask.train.runs.found import read_runs
from everymask.train.runs.row import RunRow
from tests.train.runs.run_folders import write_run

OLD = Path(__file__).resolve().parents[2] / "old_runs" / "runs.zip"


def only(root: Path) -> RunRow:
    (row,) = read_runs(root).rows
    return row


def test_a_run_says_how_good_how_far_how_long_and_on_what(tmp_path: Path) -> None:
    write_run(tmp_path / "deep" / "a", lr=0.003, encoder="resnet18")
    row = only(tmp_path)
    assert (row.state, row.why, row.step, row.epoch, row.epochs, row.seconds) == ("finished", "", 10, 2.0, 2, 30.0)
    assert row.score is not None and (row.score.name, row.score.value, row.score.low) == ("mIoU", 0.5, 0.45)
    assert (row.data, row.model, row.size) == ("0123456789abcdef", "unet", 2_000_000)
    assert (row.settings["lr"], row.settings["encoder"], row.settings["size"]) == (0.003, "resnet18", 64)
    assert row.asked["size"] is None


@pytest.mark.parametrize(
    ("how", "state", "why"),
    [
        ("finished", "finished", ""),
        ("time limit", "finished", "time limit"),
        ("no progress", "finished", "no progress"),
        ("interrupted", "interrupted", ""),
        ("failed", "failed", "the disk is full"),
        (None, "interrupted", ""),
    ],
)
def test_every_end_has_its_state(how: str | None, state: str, why: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", how=how, steps=5, error="the disk is full" if how == "failed" else "")  # type: ignore[arg-type]
    assert (only(tmp_path).state, only(tmp_path).why) == (state, why)


def test_a_run_that_was_killed_still_has_its_best_score_without_an_interval(tmp_path: Path) -> None:
    write_run(tmp_path / "a", how=None, steps=5)
    score = only(tmp_path).score
    assert score is not None and (score.name, score.value, score.low, score.high) == ("mIoU", 0.5, None, None)


def test_a_running_one_is_told_by_its_lock_and_not_disturbed(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    with open_folder(tmp_path / "a", resume=True, overwrite=False):
        before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
        assert only(tmp_path).state == "running"
        assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert only(tmp_path).state == "finished"
    with open_folder(tmp_path / "b", resume=False, overwrite=False):
        assert [(row.folder.name, row.state, row.why) for row in read_runs(tmp_path).rows][1:] == [
            ("b", "running", "it begins")
        ]


@pytest.mark.parametrize("name", ["objects", "maps"])
def test_runs_of_earlier_versions_are_shown(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(tmp_path)
    row = next(row for row in read_runs(tmp_path).rows if row.folder.name == name)
    assert (row.state, row.epoch, row.data) == ("finished", float(row.epochs or 0), "")
    assert row.score is not None and row.score.name == {"objects": "mask AP", "maps": "mIoU"}[name]
    best = json.loads(next((tmp_path / name / "state").glob("*/state.json")).read_text())["progress"]["best"]
    assert row.score.value == pytest.approx(best)
    assert row.model == {"objects": "mask-rcnn", "maps": "unet"}[name]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "there is no run in it"),
        ({"mine.txt": b"x"}, "there is no run in it"),
        ({"config.json": b"{"}, "config.json is damaged"),
        ({"config.json": b'{"name": "a package"}'}, "names no model"),
        ({"config.json": b'{"model": {"kind": "later"}, "data": "d"}'}, "of kind 'later'"),
        ({"config.json": b"[" * 100_000}, "nested too deep"),
        ({"best.safetensors": b""}, "weights without a run"),
        ({"origin.json": b"\xff"}, "origin.json is damaged"),
    ],
)
def test_what_is_no_run_is_told_with_the_reason(files: dict[str, bytes], reason: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for name, content in files.items():
        (tmp_path / "b" / name).write_bytes(content)
    found = read_runs(tmp_path)
    assert [row.folder.name for row in found.rows] == ["a"]
    (other,) = found.others
    assert other.folder == tmp_path / "b" and reason in other.reason


@pytest.mark.parametrize("name", ["origin.json", "ended.json", "log.jsonl", "splits.json", "state"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"null", b'{"kind": "validation"}\n\xff\n'])
def test_whatever_else_is_damaged_the_run_is_shown(name: str, content: bytes | None, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    if (folder / name).exists():
        (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    row = only(tmp_path)
    assert row.model == "unet"
    if content is not None and name in ("origin.json", "ended.json"):
        assert f"{name} is damaged" in row.why


def test_a_run_that_was_killed_before_it_had_its_settings_is_interrupted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", how=None)
    for name in ("config.json", "log.jsonl", "best.safetensors"):
        (folder / name).unlink()
    row = only(tmp_path)
    assert (row.state, row.why, row.model) == ("interrupted", "before its first saved state", "unet")


def test_folders_are_in_the_order_of_their_numbers_and_links_are_followed_once(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        write_run(tmp_path / "runs" / f"seed-{number}")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs", target_is_directory=True)
    (tmp_path / "runs" / "lost").symlink_to(tmp_path / "nowhere")
    found = read_runs(tmp_path / "runs")
    assert [row.folder.name for row in found.rows] == ["seed-2", "seed-9", "seed-10"]
    assert found.others == ()


def test_the_folder_of_a_run_is_shown_by_itself(tmp_path: Path) -> None:
    found = read_runs(write_run(tmp_path / "a"))
    assert [found.name(row.folder) for row in found.rows] == ["a"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        read_runs(tmp_path / "runs")


def test_reading_runs_imports_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    code = (
        "import sys\nfrom everymask.cli import run\n"
        f"code = run(['runs', {str(tmp_path)!r}])\n"
        "print(code, [name for name in ('torch', 'torchvision', 'timm', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("0 []\n")
