"""`train --seeds` and `train --sweep`: which runs they are, and what becomes of them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from everymask.commands.runs.several import are_asked, runs_of
from everymask.commands.train import Train
from everymask.commands.words import parse_again
from everymask.data.shapes import write_shapes
from everymask.errors import MachineError
from everymask.models.specs.regions import mask_rcnn_small
from everymask.models.specs.semantic import UNet
from everymask.settings.config import TrainConfig
from everymask.train.folder.ended import Ended, write_ended
from everymask.train.run import Run
from everymask.train.runs import in_turn
from everymask.train.runs.found import read_runs
from everymask.train.runs.listed import RunList
from tests.test_cli import call
from tests.train.runs.run_folders import write_run

SMALL = ["--task", "semantic", "--model", "unet", "--encoder", "plain", "--size", "32", "--batch", "2", "--epochs", "1"]


def runs(*words: str) -> RunList:
    options = parse_again(Train, "train", words)
    assert are_asked(options)
    return runs_of(options, words)


def names(listed: RunList) -> list[str]:
    return [listed.name(run) for run in listed.runs]


def test_seeds_are_runs_in_folders_of_their_own() -> None:
    listed = runs("DATA", "--seeds", "3", "--out", "o", "--seed", "7")
    assert names(listed) == ["seed-7", "seed-8", "seed-9"]
    assert [run.seed for run in listed.runs] == [7, 8, 9]
    assert {type(run) for run in listed.runs} == {TrainConfig}


def test_a_sweep_is_every_combination_and_seeds_are_below_it() -> None:
    listed = runs("--sweep", "lr=1e-3,3e-4", "model=unet,mask-rcnn-small", "DATA", "--seeds", "2", "--out", "o")
    assert names(listed)[:3] == [
        "lr-1e-3_model-unet/seed-0",
        "lr-1e-3_model-unet/seed-1",
        "lr-1e-3_model-mask-rcnn-small/seed-0",
    ]
    assert len(listed.runs) == 8
    assert {(run.lr, run.network) for run in listed.runs} == {
        (lr, model) for lr in (1e-3, 3e-4) for model in (UNet(), mask_rcnn_small())
    }


def test_other_options_are_those_of_every_run_whatever_is_swept() -> None:
    """The head belongs to a network that the sweep names."""
    listed = runs("DATA", "--head", "binary", "--sweep", "model=unet,pspnet", "--sweep", "augment.flip=0,0.5")
    assert [run.network.head for run in listed.runs] == ["binary"] * 4  # type: ignore[union-attr]
    assert [run.augment.flip for run in listed.runs] == [0, 0.5, 0, 0.5]


def test_values_are_written_as_the_options_own() -> None:
    listed = runs("DATA", "--sweep", "size=64 96,32", "layers=heads:2,all;all", "--epochs", "5")
    assert [run.crop for run in listed.runs] == [(64, 96), (64, 96), (32, 32), (32, 32)]
    assert [run.layers for run in listed.runs] == ["heads:2,all", "all"] * 2
    assert names(listed)[0] == "size-64-96_layers-heads-2-all"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "lrr=1,2"], "--lr"),
        (["--sweep", "model=unet,mask-rcn"], "did you mean mask-rcnn"),
        (["--sweep", "encoder=resnet18,resnet1"], "resnet18"),
        (["--sweep", "lr=1e-3,fast"], "--lr"),
        (["--sweep", "lr=1e-3,-1"], "lr must be"),
        (["--sweep", "lr=1e-3,,2"], "empty"),
        (["--sweep", "lr"], "--sweep lr=1e-3,3e-4"),
        (["--sweep"], "--sweep lr=1e-3,3e-4"),
        (["--sweep", "lr=1,1.0"], "the same training"),
        (["--sweep", "lr=1,2", "--lr", "3"], "given twice"),
        (["--sweep", "lr=1,2", "lr=3"], "given twice"),
        (["--sweep", "out=a,b"], "cannot be swept"),
        (["--sweep", "seed=1,2", "--seeds", "2"], "--seeds"),
        (["--seeds", "0"], "seeds must be"),
        (["--seeds", "many"], "--seeds"),
        (["--seeds", "2", "--resume"], "no list of runs to continue"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("train", "DATA", *words) == 2
    told = capsys.readouterr()
    assert said in told.err and "Traceback" not in told.err and told.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_shapes(folder, train=4, val=2, size=32)
    return folder


@pytest.mark.slow
def test_two_seeds_are_trained_and_their_mean_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    words = ["train", data, *SMALL, "--seeds", "2", "--out", out, "--time-limit", "50s"]
    assert call(*words) == 0
    told = capsys.readouterr().out
    assert "2 runs" in told and "--time-limit 50s is for each run" in told
    assert "95 % t-interval" in told and "seed-1" in told
    assert [row.state for row in read_runs(out).rows] == ["finished", "finished"]
    before = (out / "seed-0" / "log.jsonl").read_bytes()
    assert call(*words) == 0
    assert capsys.readouterr().out.count("finished already") == 2
    assert (out / "seed-0" / "log.jsonl").read_bytes() == before
    # Another list does not mix with it, and a run of its own is no list.
    assert call(*words, "--lr", "0.5") == 2
    assert "another list of runs" in capsys.readouterr().err
    assert call("train", "--resume", out, "--lr", "0.5") == 2
    assert "goes on as it began, without --lr" in capsys.readouterr().err
    assert call("train", data, "--seeds", "2", "--out", out / "seed-0") == 2
    assert "no list of runs in it" in capsys.readouterr().err


class Stub:
    """Stands for training: runs end as they are told to, and leave a folder as a run does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: dict[str, Any]) -> None:
        self.ends, self.asked = ends, list[tuple[str, bool, bool]]()
        monkeypatch.setattr(in_turn, "train", self.train)

    def train(self, config: TrainConfig) -> Any:
        folder = Path(config.out)
        self.asked.append((folder.name, config.resume, config.overwrite))
        end = self.ends.get(folder.name)
        if isinstance(end, Exception):
            raise end
        if not folder.exists():
            write_run(folder, how="interrupted" if end else "finished", steps=5 if end else 10, lr=config.lr)
            (folder / "state" / "step-00000010").mkdir(parents=True)
        elif not end:
            write_ended(folder, Ended("finished"))
        return Run(folder, "interrupted" if end else "finished", None, config, 10, 1.0, signal=end or 0)


def test_a_signal_ends_the_list_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub = Stub(monkeypatch, {"lr-2": signal.SIGINT})
    words = ["train", "DATA", "--sweep", "lr=1,2,3", "--out", tmp_path / "o"]
    assert call(*words) == 130
    told = capsys.readouterr().out
    assert f"train --resume {tmp_path / 'o'}" in told and "lr-3: not begun yet" in told
    stub.ends = {}
    assert call("train", "--resume", tmp_path / "o") == 0
    assert stub.asked == [("lr-1", False, False), ("lr-2", False, False), ("lr-2", True, False), ("lr-3", False, False)]
    assert call(*words) == 0
    assert len(stub.asked) == 4


def test_one_failing_run_does_not_stop_the_others_but_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub = Stub(monkeypatch, {"lr-1": MachineError("the GPU's memory is full"), "lr-2": RuntimeError("a slip")})
    words = ["train", "DATA", "--sweep", "lr=1,2,3", "--out", tmp_path / "o"]
    assert call(*words) == 4
    told = capsys.readouterr().out
    assert "[1 of 3] lr-1: failed: the GPU's memory is full" in told and "2 runs failed" in told
    assert [row.folder.name for row in read_runs(tmp_path / "o").rows] == ["lr-3"]
    stub.ends = {}
    assert call(*words) == 0
    assert [name for name, _, _ in stub.asked] == ["lr-1", "lr-2", "lr-3", "lr-1", "lr-2"]


def test_a_run_that_was_killed_before_its_first_state_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(monkeypatch, {"lr-1": signal.SIGTERM})
    words = ["train", "DATA", "--sweep", "lr=1,2", "--out", tmp_path / "o"]
    assert call(*words) == 143
    folder = tmp_path / "o" / "lr-1"
    (folder / "state" / "step-00000010").rmdir()
    for name in ("best.safetensors", "ended.json"):
        (folder / name).unlink()
    stub.ends = {}
    assert call(*words) == 0
    assert stub.asked[1:] == [("lr-1", False, True), ("lr-2", False, False)]


def test_overwrite_begins_anew_and_leaves_nothing_of_the_list_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(monkeypatch, {})
    assert call("train", "DATA", "--sweep", "lr=1,2", "--out", tmp_path / "o") == 0
    assert call("train", "DATA", "--sweep", "lr=2,3", "--out", tmp_path / "o", "--overwrite") == 0
    assert stub.asked[2:] == [("lr-2", False, True), ("lr-3", False, True)]
    assert [row.folder.name for row in read_runs(tmp_path / "o").rows] == ["lr-2", "lr-3"]


def test_the_folder_must_be_a_lists_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(monkeypatch, {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    assert call("train", "DATA", "--seeds", "2", "--out", tmp_path / "mine") == 2
    assert call("train", tmp_path / "data", "--seeds", "2", "--out", tmp_path / "data" / "runs") == 2
    assert stub.asked == []
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"mine", "mine/a.txt", "data"}


@pytest.mark.parametrize("damage", ["{", '{"version": 1, "runs": [{"folder": "../x", "settings": {"data": "d"}}]}'])
def test_a_damaged_list_is_refused(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub = Stub(monkeypatch, {})
    (tmp_path / "runs.json").write_text(damage)
    assert call("train", "--resume", tmp_path) == 5
    assert "runs.json is damaged" in capsys.readouterr().err
    assert call("runs", tmp_path) == 0
    assert "runs.json is damaged" in capsys.readouterr().out
    assert stub.asked == []


def test_plan_has_no_such_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("plan", "DATA", "--seeds", "2") == 2
    assert "--seeds" in capsys.readouterr().err


def test_ctrl_c_between_two_runs_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(config: TrainConfig) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(in_turn, "train", stop)
    assert call("train", "DATA", "--seeds", "2", "--out", tmp_path / "o") == 130
    assert f"train --resume {tmp_path / 'o'}" in capsys.readouterr().out
