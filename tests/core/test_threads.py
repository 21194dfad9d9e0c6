"""PyTorch's threads sleep while they wait, unless somebody decided otherwise before."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = "print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'))"


def run(code: str, **environment: str) -> str:
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP", "KMP"))}
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
        "from everymask.core.threads import wait_asleep; assert wait_asleep()",
        "import everymask as em\ntry: em.load('nothing here')\nexcept em.EverymaskError: pass",
        "import everymask as em\ntry: em.train(em.TrainConfig(data='nothing here', out=os.devnull + '/x'))\n"
        "except em.EverymaskError: pass",
        "from everymask.cli import run\nrun(['check', 'nothing here'])",
    ],
    ids=["asked for", "load", "train", "command line"],
)
def test_threads_sleep_before_torch_is_imported(first: str) -> None:
    assert run(first) == "PASSIVE 0"


def test_what_is_set_in_the_environment_stays() -> None:
    code = "from everymask.core.threads import wait_asleep; assert wait_asleep()"
    assert run(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE 0"


def test_nothing_is_set_when_it_is_too_late() -> None:
    code = "sys.modules['torch'] = sys\nfrom everymask.core.threads import wait_asleep; assert not wait_asleep()"
    assert run(code) == "None None"


def test_importing_everymask_changes_nothing() -> None:
    assert run("import everymask") == "None None"
