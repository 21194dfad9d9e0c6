"""What a bug report says of the machine."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import everymask
from everymask.cli import run
from everymask.environment import seen
from everymask.environment.calculating import Device, calculating
from everymask.environment.extras import BASE, EXTRAS, Extra, extras_here, requirement_name
from everymask.environment.seen import environment
from everymask.environment.text import to_text
from scripts import architecture
from tests.absent import TORCH, without
from tests.environment.machines import GB, computer, torch_with

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
NOT_FOR_USERS = {"all", "test", "docs"}


def test_the_extras_are_those_of_the_package() -> None:
    stated = {
        name: {requirement_name(each) for each in packages} - {"everymask"}
        for name, packages in PROJECT["optional-dependencies"].items()
        if name not in NOT_FOR_USERS
    }
    assert {extra.name: {*extra.packages} for extra in EXTRAS} == stated
    assert {*BASE} == {requirement_name(each) for each in PROJECT["dependencies"]}


def test_an_extra_that_is_missing_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = Extra("wings", "flying", ("numpy", "no-such-package"))
    monkeypatch.setattr("everymask.environment.extras.EXTRAS", (made_up,))
    (found,) = extras_here()
    assert not found.installed
    assert found.packages["numpy"] and found.packages["no-such-package"] is None
    told = to_text(computer(extras=(found,)))
    assert 'missing no-such-package: pip install "everymask[wings]" (flying)' in told


def test_env_prints_one_paste(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERYMASK_OFFLINE", "1")
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    assert run(["env"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"everymask {everymask.__version__}, Python {sys.version.split()[0]}\n")
    for word in ("system", "processor", "cores", "memory", "threads", "devices", "precision", "cache", "network"):
        assert f"\n{word} " in told, word
    assert f"torch {torch.__version__.partition('+')[0]}" in told
    assert "EVERYMASK_OFFLINE=1" in told
    assert "hidden" not in told
    assert str(Path.home()) not in told


def test_env_as_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["env", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["everymask"] == everymask.__version__
    assert told["calculating"]["threads"] == torch.get_num_threads()
    assert told["calculating"]["train"] in ("bf16", "fp32")
    assert {extra["name"] for extra in told["extras"]} == {extra.name for extra in EXTRAS}
    assert isinstance(told["slow"], list)
    assert told["processor"]["cores"] >= told["processor"]["usable"] >= 1


def test_the_precision_is_that_of_the_device_that_is_chosen() -> None:
    old_gpu = torch_with(Device("cuda:0", "V100", 16 * GB, bf16=False), bf16=True)
    assert (old_gpu.train, old_gpu.predict) == ("fp32", "float32")
    assert (torch_with().train, torch_with().predict) == ("bf16", "bfloat16")
    told = to_text(computer(calculating=old_gpu))
    assert "train fp32, predict float32, as cuda does not calculate in bfloat16" in told


def test_gpus_are_listed_with_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [SimpleNamespace(name="H200", total_memory=140 * GB), SimpleNamespace(name="T4", total_memory=16 * GB)]
    current = [0]

    @contextmanager
    def device(number: int) -> Iterator[None]:
        current[0] = number
        yield

    for name, replacement in {
        "is_available": lambda: True,
        "device_count": lambda: len(gpus),
        "get_device_properties": gpus.__getitem__,
        "device": device,
        "is_bf16_supported": lambda **_: current[0] == 0,
    }.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 9 * GB)
    found = calculating()
    assert (found.chosen, found.train) == ("cuda", "bf16")
    assert [(each.name, each.title, each.memory, each.bf16) for each in found.devices] == [
        ("cuda:0", "H200", 140 * GB, True),
        ("cuda:1", "T4", 16 * GB, False),
        ("mps", "Apple", 9 * GB, False),
    ]
    assert "cuda:0 (H200, 140.0 GB), cuda:1 (T4, 16.0 GB), mps (Apple, 9.0 GB); auto takes cuda" in to_text(
        computer(calculating=found)
    )


def test_without_torch_it_says_so_and_all_the_rest() -> None:
    done = without(TORCH, ["env"])
    assert done.stdout.endswith("code 0\n"), done.stderr
    assert "there is no PyTorch: No module named 'torch'" in done.stdout
    assert "processor" in done.stdout


def test_the_cache_is_measured_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "everymask" / "deep").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/c"):
        (tmp_path / "everymask" / name).write_bytes(bytes(100))
    found = environment().cache
    assert (found.folder, found.bytes, found.files, found.writable) == (str(tmp_path / "everymask"), 300, 3, True)
    monkeypatch.setattr(seen, "_MOST_FILES", 2)
    assert environment().cache.files == 2


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert "none, as the user has no home" in to_text(environment())


def test_looking_imports_no_networks() -> None:
    """They bring timm along, and so it would take seconds longer than importing PyTorch."""
    files, seen_from, new = architecture.modules(), set[str](), {"everymask.environment.calculating"}
    while new:
        seen_from |= new
        new = set().union(*(architecture.imports({name: files[name]})[name] for name in new)) - seen_from
    assert {"everymask.backends.devices", "everymask.train.machine.gradients"} <= seen_from
    assert not {name for name in seen_from if name.startswith("everymask.models")}
