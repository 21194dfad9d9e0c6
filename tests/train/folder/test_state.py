"""The state of a run: whole, checked, and never replaced by something worse."""

from __future__ import annotations

import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from everymask.errors import MachineError, WeightsError
from everymask.settings.config import TrainConfig
from everymask.train.ema import Ema
from everymask.train.folder import state
from everymask.train.folder.progress import Progress
from everymask.train.folder.state import Training, read_state, write_state
from everymask.train.optim import build_optimizer
from tests.train.tiny_training import Tiny, planned, settings, train_tiny


def training(config: TrainConfig, step: int = 0) -> Training:
    module = Tiny()
    return Training(module, build_optimizer(module, planned(config)), Ema(module, 0.9), Progress(step=step))


@pytest.fixture
def run(tmp_path: Path) -> tuple[TrainConfig, Path]:
    """A finished run with two saved states, of steps 12 and 13."""
    config = settings(tmp_path)
    train_tiny(config)
    current = training(config)
    read_state(tmp_path / "state", current, config)
    current.progress.step = 13
    write_state(tmp_path / "state", current, config)
    return config, tmp_path / "state"


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[-1] ^= 1
    elif how == "zeros":
        data[-64:] = bytes(64)
    elif how == "cut":
        data = data[:-7]
    path.write_bytes(b"" if how == "empty" else data)


@pytest.mark.parametrize(
    ("file", "how"),
    [
        pytest.param("tensors.safetensors", "cut", id="E02 truncated"),
        pytest.param("tensors.safetensors", "flip", id="E03 one bit"),
        pytest.param("tensors.safetensors", "zeros", id="E04 zeros"),
        pytest.param("state.json", "cut", id="E02 facts truncated"),
        pytest.param("state.json", "empty", id="E01 facts empty"),
    ],
)
def test_a_broken_state_gives_way_to_the_one_before(
    run: tuple[TrainConfig, Path], file: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """E20."""
    config, folder = run
    damage(folder / "step-00000013" / file, how)
    current = training(config)
    with caplog.at_level(logging.WARNING):
        read_state(folder, current, config)
    assert current.progress.step == 12
    assert "step-00000013 is broken" in caplog.text


def test_only_broken_states_are_an_error(run: tuple[TrainConfig, Path]) -> None:
    config, folder = run
    for path in folder.glob("step-*/tensors.safetensors"):
        damage(path, "flip")
    with pytest.raises(WeightsError, match="no saved state"):
        read_state(folder, training(config), config)


def test_a_state_of_other_settings_is_refused(run: tuple[TrainConfig, Path]) -> None:
    """E17: the difference is listed; what may change may change."""
    config, folder = run
    with pytest.raises(WeightsError, match=r"lr was 0.05, now 0.1"):
        read_state(folder, training(config), replace(config, lr=0.1))
    read_state(folder, training(config), replace(config, workers=1, time_limit="1h"))


def test_another_machine_is_a_warning(
    run: tuple[TrainConfig, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault F32: the number of threads changes the last bits."""
    config, folder = run
    monkeypatch.setattr(state.torch, "get_num_threads", lambda: 77)
    with caplog.at_level(logging.WARNING):
        read_state(folder, training(config), config)
    assert "-> 77" in caplog.text


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for step in range(4):
        write_state(tmp_path, training(config, step), config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_a_failed_write_leaves_the_earlier_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """J01, fault F4: a full disk."""
    config = settings(tmp_path)
    write_state(tmp_path, training(config, 1), config)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(MachineError, match="No space left"):
        write_state(tmp_path, training(config, 2), config)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_write_that_cannot_be_read_back_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(tmp_path)
    write_state(tmp_path, training(config, 1), config)
    write_state(tmp_path, training(config, 2), config)
    digests = iter(["written", "read"])
    monkeypatch.setattr(state, "_digest", lambda path: next(digests))
    with pytest.raises(MachineError, match="read back"):
        write_state(tmp_path, training(config, 3), config)
    assert {"step-00000001", "step-00000002"} <= {path.name for path in tmp_path.iterdir()}


def test_no_pickle(run: tuple[TrainConfig, Path]) -> None:
    _, folder = run
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"state.json", "tensors.safetensors"}


def test_layout_of_the_optimizer_follows_the_parameters(tmp_path: Path) -> None:
    config = settings(tmp_path)
    train_tiny(config)
    current = training(config)
    current.module.to(memory_format=torch.channels_last)
    read_state(tmp_path / "state", current, config)
    kernel = current.module.backbone.body.layer2.weight
    assert current.optimizer.state[kernel]["momentum_buffer"].stride() == kernel.stride()


def test_a_second_state_of_a_step_stands_beside_the_first(tmp_path: Path) -> None:
    config = settings(tmp_path)
    current = training(config, 3)
    written = []
    for seconds in (1.0, 2.0, 3.0, 4.0):
        current.progress.seconds = seconds
        written.append(write_state(tmp_path, current, config))
        restored = training(config)
        read_state(tmp_path, restored, config)
        assert restored.progress.seconds == seconds
    assert len(set(written)) == 4
    assert sorted(tmp_path.iterdir()) == written[-2:]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of file sizes")
def test_a_disk_that_takes_no_more_says_how_much_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """J01, by a real limit: what the writer of tensors then raises is no `OSError`."""
    import resource

    config = settings(tmp_path)
    write_state(tmp_path, training(config, 1), config)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=7))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(MachineError, match=r"it needs [\d,]+ bytes, but 7 are free: [\d,]+ are missing"):
            write_state(tmp_path, training(config, 2), config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_kill_left_of_a_write_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / f".{'0a' * 16}").mkdir()
    config = settings(tmp_path)
    write_state(tmp_path, training(config, 1), config)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
