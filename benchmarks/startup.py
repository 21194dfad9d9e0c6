"""How long users wait before anything happens."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.compare import Bar, Disagreement, compare
from benchmarks.page import Section

SETTING = """Fresh processes from start to end, with the package's compiled files and the disk's cache warm. Beside each
stands Python that does nothing, which is where the ratio comes from; the bars are seconds."""


def exit_code(*command: str) -> int:
    """Run a command to its end in a fresh process."""
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


NOTHING = partial(exit_code, sys.executable, "-c", "pass")
CASES = (  # what, command, most seconds
    ("`everymask --help`", (str(Path(sys.executable).with_name("everymask")), "--help"), 0.5),
    ("`import everymask`", (sys.executable, "-c", "import everymask"), 0.1),
)


def both_ran(ours: int, theirs: int) -> str:
    """Nothing is compared but that both processes ended well."""
    if ours or theirs:
        raise Disagreement(f"expected exit code 0 of both processes, but got {ours} and {theirs}")
    return ""


def run() -> Section:
    """`everymask --help` and `import everymask` in fresh processes; beside: `python -c pass`"""
    times, bars = [], []
    for what, command, limit in CASES:
        row = compare(what, partial(exit_code, *command), NOTHING, peer="`python -c pass`", same=both_ran, rounds=15)
        times.append(row)
        bars.append(Bar(what, row.medians[0], limit, unit="s", at_most=True))
    return Section(
        title="Start-up",
        setting=SETTING,
        packages=("tyro", "lazy_loader"),
        threads="one",
        times=tuple(times),
        bars=tuple(bars),
    )
