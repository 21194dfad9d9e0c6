"""A run folder belongs to one run and one process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from everymask.errors import ConfigError, MachineError
from everymask.settings.config import TrainConfig
from everymask.settings.going_on import continued
from everymask.train.folder.layout import clear_folder, open_folder


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "state").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(TrainConfig(data="d").to_json()))
    for name in ("origin.json", "splits.json"):
        (folder / name).write_text("{}")
    (folder / "log.jsonl").write_text("{}\n")
    return folder


def opened(folder: Path, *, resume: bool = False, overwrite: bool = False, data: str = "") -> list[str]:
    with open_folder(folder, resume=resume, overwrite=overwrite, data=data) as path:
        return sorted(child.name for child in path.iterdir() if not child.name.startswith("."))


def test_a_new_folder_is_made(tmp_path: Path) -> None:
    assert opened(tmp_path / "a" / "b") == []


def test_a_run_is_not_replaced_by_accident(finished: Path) -> None:
    """F11."""
    with pytest.raises(ConfigError, match=r"config.json, log.jsonl(.|\n)*--resume"):
        opened(finished)
    assert (finished / "log.jsonl").exists()


def test_a_run_can_be_replaced(finished: Path) -> None:
    (finished / "my notes.txt").write_text("mine")
    assert opened(finished, overwrite=True) == [
        "config.json",
        "log.jsonl",
        "my notes.txt",
        "origin.json",
        "splits.json",
        "state",
    ]
    clear_folder(finished)
    assert [path.name for path in finished.iterdir() if path.name != ".lock"] == ["my notes.txt"]


def test_a_folder_that_holds_no_run_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("somebody's")
    with pytest.raises(ConfigError, match="not empty"):
        opened(tmp_path, overwrite=True)
    assert (tmp_path / "log.jsonl").read_text() == "somebody's"


def test_of_a_refused_training_nothing_remains(tmp_path: Path, finished: Path) -> None:
    """F12."""
    place = tmp_path / "empty" / "runs" / "new"
    place.parent.parent.mkdir()
    with pytest.raises(ConfigError, match="refused"), open_folder(place, resume=False, overwrite=False):
        raise ConfigError("refused")
    assert list(place.parent.parent.iterdir()) == []
    with pytest.raises(ConfigError, match="not empty"):
        opened(finished)
    with pytest.raises(ConfigError, match="refused"), open_folder(finished, resume=True, overwrite=False):
        raise ConfigError("refused")
    assert not (finished / ".lock").exists()


@pytest.mark.parametrize("left", ["folder", "nothing"])
def test_a_lock_that_is_withdrawn_while_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """F30: a file without a name locks nobody out."""
    fcntl = pytest.importorskip("fcntl", reason="Windows keeps the name of an open file")
    taken: list[int] = []
    flock = fcntl.flock

    def withdrawn(file: int, how: int) -> None:
        if not taken:
            (tmp_path / "run" / ".lock").unlink()
            if left == "nothing":
                (tmp_path / "run").rmdir()
        taken.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", withdrawn)
    with open_folder(tmp_path / "run", resume=False, overwrite=False) as folder:
        assert (folder / ".lock").read_text().strip().startswith(f"process {os.getpid()} ")
    assert len(taken) > 1


def test_what_a_training_has_begun_remains(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), open_folder(tmp_path / "run", resume=False, overwrite=False) as folder:
        (folder / "config.json").touch()
        raise ConfigError("stopped")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "config.json"]


def test_resume_needs_a_run(tmp_path: Path, finished: Path) -> None:
    """E19."""
    assert opened(finished, resume=True) == ["config.json", "log.jsonl", "origin.json", "splits.json", "state"]
    with pytest.raises(ConfigError, match="no run to continue"):
        opened(tmp_path / "new", resume=True)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """F13, fault F30."""
    with (
        open_folder(tmp_path / "run", resume=False, overwrite=False),
        pytest.raises(ConfigError, match=f"process {os.getpid()} on "),
    ):
        opened(tmp_path / "run")
    assert opened(tmp_path / "run") == []


def test_the_text_of_a_lock_lies_behind_its_first_byte(tmp_path: Path) -> None:
    """F30: Windows locks that byte, and what is locked cannot be read."""
    with open_folder(tmp_path / "run", resume=False, overwrite=False) as folder:
        assert (folder / ".lock").read_bytes()[:8] == b"\nprocess"


def test_a_killed_process_locks_nobody_out(tmp_path: Path) -> None:
    """F13: what holds the lock is neither the file that it left nor a process that it forked and that lives on."""
    pytest.importorskip("fcntl", reason="Windows forks no processes")
    code = """if True:
        import os, signal, sys
        from everymask.train.folder.layout import open_folder
        with open_folder(sys.argv[1], resume=False, overwrite=False):
            ready, say = os.pipe()
            child = os.fork()
            if not child:
                os.write(say, b"!")
                signal.pause()
            os.read(ready, 1)
            print(child, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        child = int(killed.stdout.readline())
        try:
            assert killed.wait() == -signal.SIGKILL
            assert (tmp_path / "run" / ".lock").exists()
            assert opened(tmp_path / "run") == []
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F13: no pretended lock, which would outlive a killed process."""
    fcntl = pytest.importorskip("fcntl", reason="Windows has other locks")

    def missing(file: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with pytest.raises(MachineError, match=r"cannot write the run folder .*run: Function not implemented"):
        opened(tmp_path / "run")


def test_the_run_does_not_go_into_the_data(tmp_path: Path) -> None:
    """F12."""
    with pytest.raises(ConfigError, match="inside the data"):
        opened(tmp_path / "pictures" / "run", data=str(tmp_path))


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """F07."""
    (tmp_path / "run").write_text("")
    with pytest.raises(MachineError, match="cannot write the run folder"):
        opened(tmp_path / "run")


ORIGIN = TrainConfig(data="d", epochs=9, size=64, out="runs/a", overwrite=True)
STORED = replace(ORIGIN, size=(64, 64), lr=0.1, workers=2, overwrite=False)


@pytest.mark.parametrize(
    "again", [{}, {"epochs": 9, "size": 64}, {"lr": 0.1}], ids=["nothing", "the same words", "what was chosen"]
)
def test_a_run_goes_on_with_its_own_settings(again: dict[str, object]) -> None:
    given = TrainConfig(**({"data": "d", "out": "runs/a", "resume": True, "time_limit": "1h"} | again))  # type: ignore[arg-type]
    assert continued(STORED, ORIGIN, given) == replace(STORED, resume=True, time_limit="1h")


def test_a_run_can_become_longer_and_not_shorter() -> None:
    """E17."""
    again = TrainConfig(data="d", resume=True, epochs=20)
    assert continued(STORED, ORIGIN, again) == replace(STORED, out=again.out, resume=True, epochs=20)
    with pytest.raises(ConfigError, match=r"epochs was 9, now 8: .*not shorter"):
        continued(STORED, ORIGIN, replace(again, epochs=8))


@pytest.mark.parametrize("changes", [{"lr": 0.2}, {"mask_threshold": 9}])
def test_other_settings_cannot_change(changes: dict[str, object]) -> None:
    """E17."""
    name = next(iter(changes))
    with pytest.raises(ConfigError, match=f"{name} was .*, now "):
        continued(STORED, ORIGIN, TrainConfig(**({"data": "d", "resume": True} | changes)))  # type: ignore[arg-type]


def test_data_may_lie_elsewhere() -> None:
    """What they hold is compared when they are read; where they lie says nothing."""
    given = TrainConfig(data="moved/d", masks="moved/m", resume=True)
    assert continued(STORED, ORIGIN, given) == replace(
        STORED, data="moved/d", masks="moved/m", out=given.out, resume=True
    )
    stored = replace(STORED, masks="m", images="i")
    assert continued(stored, stored, TrainConfig(data="d", resume=True)).masks == "m"


def test_a_run_that_was_killed_before_it_began_can_be_replaced(tmp_path: Path) -> None:
    """Killed between the first files that it writes: `config.json` is the last of them."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "splits.json").write_text("{}")
    (folder / f".{'0a' * 16}.json").write_text("half")
    with pytest.raises(ConfigError, match=r"before its first step(.|\n)*--overwrite"):
        opened(folder, resume=True)
    assert opened(folder, overwrite=True) == ["splits.json"]
    assert not list(folder.glob(".0a*")), "what a killed write left is removed"


def test_a_damaged_config_hides_no_run(finished: Path) -> None:
    (finished / "config.json").write_text("{")
    assert "config.json" in opened(finished, resume=True)
    assert "config.json" in opened(finished, overwrite=True)


def test_a_folder_of_others_is_no_run(finished: Path) -> None:
    (finished / "config.json").write_text("{}")
    (finished / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigError, match="is not empty"):
        opened(finished, overwrite=True)
