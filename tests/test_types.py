"""Programs that use everymask are checked against its types."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_nearly_all_public_types_are_known() -> None:
    """pyright brings a program for Node along, and is in no extra: `pip install pyright` (docs/maintaining.md)."""
    pytest.importorskip("pyright")
    words = ["--verifytypes", "everymask", "--ignoreexternal", "--outputjson"]
    done = subprocess.run(
        [sys.executable, "-m", "pyright", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["completenessScore"] >= 0.99, found["exportedSymbolCounts"]
    assert found["exportedSymbolCounts"]["withUnknownType"] == 0
