"""How PyTorch's threads wait is chosen by the machine's load, unless somebody decided otherwise before."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from everymask.core import threads

SHOW = "print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"
CHOOSE = "from everymask.core.threads import choose_waiting; assert choose_waiting()"
# PyTorch is not imported: what is set when somebody asks for it is shown, and that is the end.
UNTIL_TORCH = f"""
class Show:
    def find_spec(self, name, *_):
        if name == 'torch':
            {SHOW}
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Show())
"""
LOADED = "import psutil\npsutil.cpu_percent = lambda *_, **__: [{}] * 64\n"


def run(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in threads.ASLEEP}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import os, sys\n{code}\n{SHOW}"],
        capture_output=True,
        text=True,
        check=True,
        env=kept | environment,
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "first",
    [
        CHOOSE,
        "import everymask as em\ntry: em.load('nothing here')\nexcept em.EverymaskError: pass",
        "import everymask as em\ntry: em.train(em.TrainConfig(data='nothing here', out=os.devnull + '/x'))\n"
        "except em.EverymaskError: pass",
        "from everymask.cli import run\nrun(['evaluate', 'nothing here', '.'])",
        "from everymask.cli import run\nrun(['train', 'nothing here'])",
    ],
    ids=["asked for", "load", "train", "evaluate on the command line", "train on the command line"],
)
def test_threads_sleep_on_a_busy_machine(first: str) -> None:
    assert run(LOADED.format(100.0) + UNTIL_TORCH + first) == "PASSIVE 0"


def test_threads_stay_awake_for_a_moment_on_a_quiet_machine() -> None:
    assert run(LOADED.format(0.0) + CHOOSE) == "None 30000"


def test_where_the_load_cannot_be_known_they_sleep() -> None:
    assert run("sys.modules['psutil'] = None\n" + CHOOSE) == "PASSIVE 0"


def test_what_is_set_in_the_environment_stays_as_a_whole() -> None:
    assert run(LOADED.format(100.0) + CHOOSE, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE None"


def test_nothing_is_set_when_it_is_too_late() -> None:
    code = "sys.modules['torch'] = sys\nfrom everymask.core.threads import choose_waiting; assert not choose_waiting()"
    assert run(code) == "None None"


def test_importing_everymask_changes_nothing() -> None:
    assert run("import everymask") == "None None"


def test_only_the_cores_of_this_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1}, raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [100.0, 0.0])
    assert not threads._others_calculate()
    monkeypatch.setattr(psutil, "cpu_percent", lambda *_, **__: [0.0, 100.0])
    assert threads._others_calculate()


@pytest.mark.parametrize(
    ("given", "how"),
    [
        ({}, "as usual"),
        (threads.ASLEEP, "asleep"),
        (threads.AWAKE, "awake"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "as given"),
    ],
)
def test_how_threads_wait_can_be_asked(given: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.ASLEEP:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert threads.waiting() == how
