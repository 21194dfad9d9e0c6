"""`everymask runs`: what stands in its tables and in its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import call
from tests.train.runs.run_folders import write_run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room, a row is a line."""
    monkeypatch.setenv("COLUMNS", "160")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    told = capsys.readouterr()
    assert told.err == ""
    return [line.strip() for line in told.out.splitlines()]


def test_the_table_has_a_row_for_each_run_and_only_the_settings_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", lr=0.001)
    write_run(tmp_path / "b", lr=0.002, how=None, steps=5)
    (tmp_path / "notes").mkdir()
    assert call("runs", tmp_path) == 0
    told = lines(capsys)
    (a, settings_a), (b, settings_b) = ([line.split() for line in told if line.startswith(name)] for name in "ab")
    assert a == ["a", "finished", "0.500", "0.450-0.550", "2/2", "0:00:30", "2.0"]
    assert b == ["b", "interrupted", "0.500", "-", "1/2", "0:00:15", "2.0"]
    assert settings_a == ["a", "0.001"] and settings_b == ["b", "0.002"]
    assert told[0] == "2 runs of unet on data 01234567"
    assert told[-1] == "notes: there is no run in it"


def test_many_runs_are_folded_and_json_has_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(45):
        write_run(tmp_path / f"seed-{seed}", seed=seed)
    assert call("runs", tmp_path) == 0
    told = lines(capsys)
    assert sum(line.startswith("seed-") for line in told) == 2 * 40 + 1  # rows, settings, and the group of seeds
    assert any("and 5 more" in line for line in told)
    assert call("runs", tmp_path, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in answer["runs"]] == [f"seed-{seed}" for seed in range(45)]
    assert answer["differing"] == ["seed"] and answer["over_seeds"][0]["interval"] == [0.5, 0.5]


def test_json_says_all_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", how="failed", error="the disk is full", score=None)
    assert call("runs", tmp_path, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    settings = run.pop("settings")
    assert settings["lr"] == 0.01 and "out" not in settings
    assert run == {
        "run": "a", "state": "failed", "why": "the disk is full", "score": None, "step": 10, "epoch": 2.0, "epochs": 2,
        "seconds": 30.0, "data": "0123456789abcdef", "model": "unet", "bytes": 2_000_000,
    }  # fmt: skip


def test_sort_and_filter_take_their_words_wherever_the_folder_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, score in (("a", 0.3), ("b", 0.5), ("c", 0.4)):
        write_run(tmp_path / name, score=score)
    assert call("runs", "--filter", "score>0.35", "state=finished", tmp_path, "--sort", "score", "--json") == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["b", "c"]
    assert call("runs", tmp_path, "--filter=score<0.35", "--filter", "run=a") == 0
    assert sum(line.startswith(("a ", "b ", "c ")) for line in lines(capsys)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sort", "scores"], "did you mean score?"),
        (["--filter", "stat=finished"], "did you mean state?"),
        (["--filter", "lr>fast"], "no number"),
        (["--filter", "lr"], "--filter"),
        (["--filter"], "--filter"),
        (["--sorted", "lr"], "--sort"),
    ],
)
def test_mistakes_are_named(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a")
    assert call("runs", tmp_path, *words) == 2
    told = capsys.readouterr()
    assert said in told.err and told.out == ""


def test_an_empty_folder_has_no_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("runs", tmp_path) == 0
    assert lines(capsys) == [f"no run in {tmp_path}"]
    assert call("runs", tmp_path / "none") == 2


def test_scores_that_cannot_be_compared_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", digest="aa")
    write_run(tmp_path / "b", digest="bb")
    assert call("runs", tmp_path) == 0
    told = lines(capsys)
    assert any("cannot be compared" in line for line in told)
    assert [line.split()[-2] for line in told if line.startswith(("a ", "b "))] == ["aa", "bb"]
