"""`python -m benchmarks.resilience`: what it compares, and the table that it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.resilience import KINDS, PAGE, Case, Tally, differences, text_of


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """What a training leaves behind."""
    folder = tmp_path / "alone"
    state = folder / "state" / "step-00000002"
    state.mkdir(parents=True)
    save_file({"weight": np.arange(3, dtype=np.float32)}, state / "tensors.safetensors")
    save_file({"weight": np.ones(3, np.float32)}, folder / "best.safetensors")
    (state / "state.json").write_text(json.dumps({"progress": {"step": 2, "seconds": 1.5}}))
    line = {"kind": "step", "step": 2, "epoch": 1, "loss": 0.5, "lr": 0.1, "images_per_second": 1.5, "memory_mb": 1.5}
    (folder / "log.jsonl").write_text(json.dumps(line | {"seconds": 1.5}) + "\n")
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def broken(alone: Path, tmp_path: Path) -> Path:
    """The same, which took longer."""
    folder = tmp_path / "broken"
    shutil.copytree(alone, folder)
    for path in (folder / "log.jsonl", next(folder.glob("state/*/state.json"))):
        path.write_text(path.read_text().replace("1.5", "9.0"))
    return folder


def test_times_are_no_difference(alone: Path, broken: Path) -> None:
    assert differences(alone, broken) == []


@pytest.mark.parametrize(
    ("name", "said"), [("best.safetensors", "best weights"), ("state/step-00000002/tensors.safetensors", "state")]
)
def test_a_bit_is_a_difference(alone: Path, broken: Path, name: str, said: str) -> None:
    data = bytearray((broken / name).read_bytes())
    data[-1] ^= 1
    (broken / name).write_bytes(data)
    assert differences(alone, broken) == [said]


def test_progress_log_and_leftovers_are_compared(alone: Path, broken: Path) -> None:
    facts = next(broken.glob("state/*/state.json"))
    facts.write_text(facts.read_text().replace('"step": 2', '"step": 3'))
    log = broken / "log.jsonl"
    log.write_text(log.read_text().replace("0.5", "0.6"))
    (broken / f".{'a' * 32}.json").touch()
    assert differences(alone, broken) == ["progress", "log of steps", f"left behind: .{'a' * 32}.json"]


def test_the_table_adds_up(tmp_path: Path) -> None:
    tallies = {"one": Tally(2, 3, 4), "other": Tally(1, 5, 6, ["other: state"])}
    text = text_of(tallies, "python -m benchmarks.resilience --kills 18")
    assert "| other | 1 | 5 | 6 | 1 |\n| **all** | **3** | **8** | **10** | **1** |" in text
    assert "--kills 18" in text and PAGE.is_file()
    assert {Case(name, 2, "bf16").config(tmp_path, tmp_path / "out").task for name in KINDS} == {
        "instance",
        "semantic",
        "panoptic",
    }
