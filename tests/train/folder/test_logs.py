"""The log is for programs, the console for people; neither can stop a training."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
import torch
from rich.console import Console

from everymask.train.folder import logs
from everymask.train.folder.logs import Log, Screen, read_log
from everymask.train.folder.progress import Progress

CPU = torch.device("cpu")


def write_steps(log: Log, first: int, last: int, progress: Progress | None = None) -> Progress:
    progress = progress or Progress()
    log.start(progress, 40, 10)
    for step in range(first, last):
        progress.step, progress.seconds = step + 1, step / 10
        log.step(progress, {"loss": float(step), "loss_mask": 1.0}, rate=0.1, images=4, device=CPU)
    return progress


def test_a_line_is_the_mean_of_ten_steps(tmp_path: Path) -> None:
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        write_steps(log, 0, 25)
    entries = read_log(tmp_path / "log.jsonl")
    assert [(entry["step"], entry["epoch"], entry["loss"]) for entry in entries] == [(10, 1.0, 4.5), (20, 2.0, 14.5)]
    assert entries[0]["loss_mask"] == 1.0
    assert entries[0]["memory_mb"] > 0


def test_means_span_an_interruption(tmp_path: Path) -> None:
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        progress = write_steps(log, 0, 7)
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        write_steps(log, 7, 12, progress)
    assert [(entry["step"], entry["loss"]) for entry in read_log(tmp_path / "log.jsonl")] == [(10, 4.5)]


@pytest.mark.parametrize(("validated", "kept"), [(20, [10, 20]), (10, [10])])
def test_a_validation_that_the_saved_state_does_not_know_is_logged_once(
    tmp_path: Path, validated: int, kept: list[int]
) -> None:
    """The state is saved before a validation too; a run that is killed behind it validates again."""
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        progress = write_steps(log, 0, 20)
        for step in (10, 20):
            log.validation(Progress(step=step), {"mask AP": 0.5})
    progress.validated = validated
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        log.start(progress, 40, 10)
    entries = read_log(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in entries if entry["kind"] == "validation"] == kept
    assert [entry["step"] for entry in entries if entry["kind"] == "step"] == [10, 20]


def test_without_a_terminal_there_are_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PLAIN_SECONDS", 0.0)
    text = io.StringIO()
    with Log(tmp_path, Console(file=text, width=20), tensorboard=False) as log:
        write_steps(log, 0, 2)
        log.validation(Progress(step=10, best_step=10), {"mask AP": 0.51234})
        log.validation(Progress(step=29_804), {"mask AP": 0.5})
        log.note("[a note] of the user's :train:")
    lines = text.getvalue().splitlines()
    assert lines[1].startswith("epoch 1/4  step 2/40  loss 1.000 · ")
    assert lines[1].endswith("0:00:02 left")
    assert lines[2:4] == ["epoch 1: mask AP 0.512  (best so far)", "epoch 2980.4: mask AP 0.500"]
    assert lines[4:] == ["[a note] of the user's :train:"]


@pytest.mark.parametrize(("limit", "left"), [(1000.0, "0:06:20"), (60.0, "0:00:40"), (10.0, "0:00:00")])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_left_is_that_of_the_limit_where_it_comes_first(
    limit: float, left: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps of 40 in 20 seconds."""
    monkeypatch.setattr(logs, "_PLAIN_SECONDS", 0.0)
    text, progress = io.StringIO(), Progress(step=2, seconds=20.0)
    with Log(tmp_path, Console(file=text, force_terminal=terminal, width=200), tensorboard=False) as log:
        log.start(progress, 40, 10, limit)
        log.step(progress, {"loss": 1.0}, rate=0.1, images=4, device=CPU)
    assert left in text.getvalue()


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    text = io.StringIO()
    with Log(tmp_path, Console(file=text, force_terminal=True, width=120), tensorboard=False) as log:
        write_steps(log, 0, 12)
    assert "epoch 2/4" in text.getvalue()
    assert "12/40" in text.getvalue()


def test_a_reader_that_leaves_does_not_stop_training(tmp_path: Path) -> None:
    class Left(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Log(tmp_path, Screen(file=Left()), tensorboard=False) as log:
        log.note("unheard")
        log.note("unheard")
    assert [entry["text"] for entry in read_log(tmp_path / "log.jsonl")] == ["unheard", "unheard"]


def test_a_full_disk_does_not_stop_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """J17."""
    (tmp_path / "log.jsonl").mkdir()
    with caplog.at_level(logging.WARNING), Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        log.note("lost")
    assert "cannot write" in caplog.text


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with Log(tmp_path, Console(quiet=True)) as log:
        write_steps(log, 0, 10)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_damaged_lines_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Log(tmp_path, Console(quiet=True), tensorboard=False) as log:
        write_steps(log, 0, 20)
    file = tmp_path / "log.jsonl"
    first, second = file.read_bytes().splitlines()
    bad = [
        b"[]",
        b"3",
        b"\xff\xfe",
        b'{"kind": "step"}',
        b'{"kind": "note"}',
        b"[" * 50_000,
        first.replace(b": 1", b': "'),
    ]
    file.write_bytes(b"\n".join([*bad, first, second, second[:30]]))
    assert read_log(file) == [json.loads(first), json.loads(second)]
    assert f"{len(bad)} lines left out" in caplog.text
