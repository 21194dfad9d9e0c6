"""Which of many cases of one promise run each time; `pytest -m slow` runs the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def quick(cases: Iterable[Any], representatives: Collection[Any]) -> list[Any]:
    """All cases as parameters of a test; those that no representative names carry the mark `slow`."""
    found, given = list(cases), set(representatives)
    assert given and given <= set(found), f"no such cases: {sorted(map(str, given - set(found)))}"
    return [case if case in given else pytest.param(case, marks=pytest.mark.slow) for case in found]
