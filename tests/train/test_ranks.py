"""Several processes train as one does, and whatever ends one of them ends all, which one of them says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from everymask.data.shapes import write_shapes
from everymask.train.folder.logs import read_log
from tests.train.launch import ROOT, launch

pytestmark = pytest.mark.slow


def state(folder: Path) -> dict[str, torch.Tensor]:
    newest = sorted((folder / "state").iterdir())[-1]
    return load_file(newest / "tensors.safetensors")


def same(first: Path, second: Path) -> bool:
    one, other = state(first), state(second)
    return all(torch.equal(one[name], other[name]) for name in one | other)


def entries(folder: Path, kind: str) -> list[dict[str, Any]]:
    left_out = ("kind", "seconds", "images_per_second", "memory_mb")
    found = [entry for entry in read_log(folder / "log.jsonl") if entry["kind"] == kind]
    return [{name: value for name, value in entry.items() if name not in left_out} for entry in found]


def assert_alike(first: Path, second: Path, *, kind: str = "step", rel: float = 1e-6) -> None:
    one, other = entries(first, kind), entries(second, kind)
    assert [entry["step"] for entry in one] == [entry["step"] for entry in other]
    for before, after in zip(one, other, strict=True):
        assert after == pytest.approx(before, rel=rel, abs=1e-9)


def said(ended: list[Any]) -> list[str]:
    """All errors that the processes have said."""
    return [line for one in ended for line in one.error.splitlines() if line.startswith("error:")]


TINY = {"batch": 4, "epochs": 25, "lr": 0.01, "clip_norm": 0.5, "layers": "heads:5,all"}


def test_from_one_process_to_two_and_back(tmp_path: Path) -> None:
    """T10: 100 steps of which two processes make 33 give the losses of one process; SIGTERM to one stops both."""
    (whole,) = launch(1, "tiny", tmp_path / "whole", TINY)
    assert whole.out.split() == ["finished", "0", "100"], whole.error
    parts = tmp_path / "parts"
    (begun,) = launch(1, "tiny", parts, TINY | {"happens": "SIGTERM", "who": 0, "when": 33})
    assert begun.out.split() == ["interrupted", "15", "33"], begun.error
    both = launch(2, "tiny", parts, TINY | {"happens": "SIGTERM", "who": 1, "when": 33, "resume": True})
    assert both[0].out.split() == ["interrupted", "15", "66"], both
    assert [one.code for one in both] == [0, 0]
    (ended,) = launch(1, "tiny", parts, TINY | {"resume": True})
    assert ended.out.split() == ["finished", "0", "100"], ended.error
    assert_alike(tmp_path / "whole", parts)
    assert_alike(tmp_path / "whole", parts, kind="validation")


def test_accumulation_in_two_processes_is_one_large_batch(tmp_path: Path) -> None:
    launch(1, "tiny", tmp_path / "large", {"batch": 8, "epochs": 5})
    ended = launch(2, "tiny", tmp_path / "shared", {"batch": 4, "accumulate": 2, "epochs": 5})
    assert [one.code for one in ended] == [0, 0], ended
    assert_alike(tmp_path / "large", tmp_path / "shared", rel=1e-5)


@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_is_killed_ends_all_and_the_run_goes_on(tmp_path: Path, who: int) -> None:
    """T2, T9: within 5 seconds; then to the same weights, bit for bit, as without the kill."""
    launch(2, "tiny", tmp_path / "whole", TINY | {"epochs": 6})
    ended = launch(2, "tiny", tmp_path / "parts", TINY | {"epochs": 6, "happens": "SIGKILL", "who": who, "when": 14})
    assert ended[who].code == -signal.SIGKILL
    assert ended[1 - who].code == 4
    assert ended[1 - who].later < 5
    (error,) = said(ended)
    assert f"process {who} (" in error or (who == 0 and "at MASTER_ADDR" in error)
    assert "Traceback" not in ended[1 - who].error
    again = launch(2, "tiny", tmp_path / "parts", TINY | {"epochs": 6, "resume": True})
    assert again[0].out.split() == ["finished", "0", "24"], again
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert not list((tmp_path / "parts" / "state").glob(".*"))


def test_a_process_that_is_stopped_ends_all_when_the_time_is_over(tmp_path: Path) -> None:
    """T9: the others say which one, and end it, since it hears nothing else."""
    ended = launch(2, "tiny", tmp_path / "a", TINY | {"happens": "SIGSTOP", "when": 5}, timeout=3)
    assert (ended[0].code, ended[1].code) == (4, -signal.SIGKILL)
    (error,) = said(ended)
    assert "process 1 (" in error
    assert "was stopped and did not answer in time" in error


def test_a_bug_in_one_process_is_shown_once(tmp_path: Path) -> None:
    ended = launch(2, "tiny", tmp_path / "a", TINY | {"happens": "BUG", "when": 5})
    assert (ended[0].code, ended[1].code) == (4, 1)
    assert ended[0].error == ""
    assert "ZeroDivisionError: a bug" in ended[1].error


def test_a_loss_that_is_not_a_number_stops_all_before_the_step(tmp_path: Path) -> None:
    """T8: the picture is named, whichever process had it, and only those of its pass."""
    ended = launch(2, "tiny", tmp_path / "a", TINY | {"bad": 8})
    (error,) = said(ended)
    assert sorted(one.code for one in ended) == [1, 4]
    assert "the loss is not finite" in error
    found = json.loads((tmp_path / "a" / "nonfinite.json").read_text())
    assert "picture-8" in found["ids"]
    assert len(found["ids"]) == 2
    saved = sorted((tmp_path / "a" / "state").iterdir())[-1].name
    assert saved == f"step-{found['step']:08d}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_shapes(folder, train=8, val=5, size=64)
    return folder


def command(verb: str, *words: object) -> list[str]:
    return [verb, *map(str, words)]


UNET = {"epochs": 2, "batch": 4, "size": 64, "workers": 0, "weights": "none", "lr": 0.01, "device": "cpu"}
UNET |= {"precision": "fp32", "schedule": "constant", "warmup_steps": 1}


def trained(tmp_path: Path, count: int, data: Path, **changes: object) -> Path:
    out = tmp_path / f"by-{count}"
    ended = launch(count, "train", out, UNET | {"data": str(data), "out": str(out)} | changes)
    assert [one.code for one in ended] == [0] * count, ended
    return out


@pytest.mark.parametrize(
    ("changes", "rel"),
    [
        pytest.param({"network": "unet", "loss": "ce+dice+0.1*boundary", "accumulate": 2}, 1e-4, id="unet"),
        pytest.param({"network": "unet-batch-norm", "sync_norm": True}, 1e-3, id="unet, shared norms"),
        pytest.param({"network": "mask-rcnn", "accumulate": 2}, 1e-4, id="mask-rcnn"),
    ],
)
def test_two_processes_learn_what_one_learns(
    tmp_path: Path, pictures: Path, changes: dict[str, object], rel: float
) -> None:
    """Losses, normalised by pixels or regions of the whole batch, and the numbers of the validation."""
    one, two = (trained(tmp_path, count, pictures, **changes) for count in (1, 2))
    first, second = (load_file(sorted((run / "state").iterdir())[-1] / "tensors.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    assert_alike(one, two, rel=rel)
    for before, after in zip(entries(one, "validation"), entries(two, "validation"), strict=True):
        assert after == pytest.approx(before, abs=0.01)


def test_evaluate_in_two_processes_says_what_one_says(tmp_path: Path, pictures: Path, tiny: Path) -> None:
    words = command("evaluate", tiny, pictures, "--json", "--device", "cpu", "--precision", "exact")
    (one,) = launch(1, "command", tmp_path / "one", words)
    both = launch(2, "command", tmp_path / "two", words)
    assert [one.code for one in both] == [0, 0], both
    assert both[1].out == ""
    found = [json.loads(text) for text in (one.out, both[0].out)]
    assert all(report.pop("seconds_per_picture") > 0 for report in found)
    assert found[0] == found[1]


def test_predict_in_two_processes_finds_what_one_finds(tmp_path: Path, pictures: Path, tiny: Path) -> None:
    photos = pictures / "images"
    options = ("--engine", "local", "--table", "coco", "--shard-size", 3, "--device", "cpu", "--precision", "exact")
    answers, tables = [], []
    for count in (1, 2):
        out = tmp_path / f"masks-{count}"
        words = command("predict", tiny, photos, "--out", out, *options, "--json", "--min-score", 0)
        ended = launch(count, "command", tmp_path / f"by-{count}", words)
        assert [one.code for one in ended] == [0] * count, ended
        assert [bool(one.out) for one in ended] == [True, False][:count]
        answers.append(json.loads(ended[0].out) | {"out": ""})
        tables.append({file.name: file.read_bytes() for file in (out / "predictions").iterdir()})
        assert not (out / "parts").exists()
    assert answers[0] == answers[1]
    assert answers[0]["pictures"] == 13
    assert tables[0] == tables[1]
    (refused, _) = launch(2, "command", tmp_path / "again", words)
    assert "continue it with --resume" in refused.error
    without = launch(2, "command", tmp_path / "without", command("predict", tiny, photos, "--out", tmp_path / "c"))
    assert "with --engine local each predicts its share" in without[0].error


def test_a_restarted_launch_goes_on_from_the_last_state(tmp_path: Path, pictures: Path) -> None:
    """`torchrun --max-restarts`: a process that is killed costs the steps since the last state, and nothing else."""
    out = tmp_path / "restarted"
    settings = UNET | {"data": str(pictures), "out": str(out), "network": "unet", "save_every": "0.001s"}
    whole = trained(tmp_path, 2, pictures, network="unet")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"),
            *("-m", "tests.train.ranks_program", "train", str(out), json.dumps(settings | {"kill_after": 3})),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "ended without a word" in done.stderr
    assert same(whole, out)
