"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Workers of pytest-xdist share the cores; libraries read this when they are first imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return DATA
