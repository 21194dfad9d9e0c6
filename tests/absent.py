"""Commands of everymask where packages are not installed, which they are for the other tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

TORCH = ("torch", "torchvision", "timm")
_CODE = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, No())
from everymask.cli import run
for words in {commands!r}:
    print("code", run(words))
"""


def without(absent: Sequence[str], *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """What each command says, and behind it `code` and its exit code."""
    code = _CODE.format(absent=tuple(absent), commands=commands)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
