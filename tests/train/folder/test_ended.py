"""A run folder says how its training ended, until it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from everymask.core.processes.rank import ALONE, Rank
from everymask.data.shapes import write_shapes
from everymask.errors import DataError
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train import loop
from everymask.train.folder.ended import Ended, Score, clear_ended, failure_kept, read_ended, write_ended
from everymask.train.folder.progress import Reason
from everymask.train.run import train
from everymask.train.runs.row import read_row


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_ended(tmp_path) is None
    for ended in (
        Ended("finished", 10, 2.5, Score("mIoU", 0.5, 0.4, 0.6)),
        Ended("time limit", 3, 1.0, Score("mask AP", 0.5)),
        Ended("failed", error="the disk is full"),
    ):
        write_ended(tmp_path, ended)
        assert read_ended(tmp_path) == ended
    clear_ended(tmp_path)
    assert read_ended(tmp_path) is None


@pytest.mark.parametrize(
    ("old", "new"), [("finished", "finishes"), ("0.5", "0.7"), ("{", "["), ("checksum", "checksun")]
)
def test_a_damaged_one_is_no_answer(old: str, new: str, tmp_path: Path) -> None:
    write_ended(tmp_path, Ended("finished", 10, 2.5, Score("mIoU", 0.5)))
    file = tmp_path / "ended.json"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError):
        read_ended(tmp_path)


def test_a_failure_is_kept_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(DataError), failure_kept(tmp_path, ALONE):
        raise DataError("a.png is cut off", hint="bring it back")
    assert read_ended(tmp_path) == Ended("failed", error="a.png is cut off")
    clear_ended(tmp_path)
    with pytest.raises(RuntimeError), failure_kept(tmp_path, Rank(1, 2)):
        raise RuntimeError
    with pytest.raises(KeyboardInterrupt), failure_kept(tmp_path, ALONE):
        raise KeyboardInterrupt
    assert read_ended(tmp_path) is None


def test_a_training_leaves_word_of_its_end_and_takes_it_back_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shapes(tmp_path / "data", train=4, val=3, size=32)
    spec = UNet(encoder="plain", decoder_channels=(8, 4))
    given = TrainConfig(
        data=str(tmp_path / "data"), out=str(tmp_path / "run"), task="semantic", model=spec, epochs=2, batch=2, size=32
    )
    quiet = Console(quiet=True)
    run = train(given, console=quiet)
    ended = read_ended(run.folder)
    assert ended is not None and run.report is not None and ended.score is not None
    assert (ended.how, ended.step) == ("finished", 4)
    assert (ended.score.low, ended.score.high) == run.report.scores.interval
    assert ended.score.value == run.report.headline

    def fails(*_: object, **__: object) -> None:
        assert read_ended(run.folder) is None
        raise DataError("a.png is cut off")

    monkeypatch.setattr(loop, "_step", fails)
    with pytest.raises(DataError):
        train(replace(given, epochs=3, resume=True), console=quiet)
    row = read_row(run.folder)
    assert (row.state, row.why, row.step, row.epochs) == ("failed", "a.png is cut off", 4, 3)
    assert row.score is not None and row.score.value == run.report.headline


def test_every_reason_to_stop_can_be_kept(tmp_path: Path) -> None:
    for reason in get_args(Reason):
        write_ended(tmp_path, Ended(reason))
        assert read_ended(tmp_path) == Ended(reason)
