"""`python -m everymask` is the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from everymask import __version__


def run_module(*arguments: str, launcher: tuple[str, ...] = ("-m", "everymask")) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *launcher, *arguments], capture_output=True, text=True, check=False)


def test_the_module_does_what_the_command_does() -> None:
    done = run_module("--version")
    assert (done.returncode, done.stdout) == (0, f"everymask {__version__}\n"), done.stderr


def test_the_module_leaves_with_the_exit_code_of_the_error() -> None:
    done = run_module("chek")
    assert done.returncode == 2
    assert "did you mean check?" in done.stderr


@pytest.mark.slow
def test_torchrun_starts_it() -> None:
    done = run_module("--version", launcher=("-m", "torch.distributed.run", "--nproc-per-node=1", "-m", "everymask"))
    assert (done.returncode, done.stdout) == (0, f"everymask {__version__}\n"), done.stderr
