"""How much of the machine a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from everymask.core.machine import processor
from everymask.core.machine.cores import granted_cores, granted_memory, usable_cores


def grouped(folder: Path, files: dict[str, str]) -> Path:
    """A folder of such cgroup files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content + "\n")
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_time_that_a_container_is_granted(files: dict[str, str], cores: float | None, tmp_path: Path) -> None:
    assert granted_cores(grouped(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({"memory.max": "1073741824"}, 1 << 30),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": "4096"}, 4096),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({}, None),
    ],
)
def test_the_memory_that_a_container_is_granted(files: dict[str, str], memory: int | None, tmp_path: Path) -> None:
    assert granted_memory(grouped(tmp_path, files)) == memory


def test_cores_without_the_systems_word_are_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores() == {0, 1, 2}


def test_the_processor_is_called_as_its_maker_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some Thing 9000\nflags\t: a b\n")
    monkeypatch.setattr(processor, "_CPU_INFO", info)
    assert processor.processor_name() == "Some Thing 9000"
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="Apple M9\n"))
    assert processor.processor_name() == "Apple M9"
