"""What is said of training is what training does."""

from __future__ import annotations

import ast
from pathlib import Path

import everymask.data
from everymask.data.doctor.treatment import _LEFT_OUT, _REPAIRED, _REPAIRED_BY_SKIP, Treatment, treatments
from everymask.errors import Issue


def test_errors_come_first_and_each_kind_once() -> None:
    issues = [
        Issue("box-clipped", "", severity="warning"),
        Issue("near-leak", "", severity="warning"),
        Issue("box", "", count=2),
        Issue("crowd-missing", ""),
        Issue("box", ""),
        Issue("no-area-point", "", severity="warning", count=4),
    ]
    assert treatments(issues) == (
        Treatment("box", "error", 3, "refused", "left out"),
        Treatment("crowd-missing", "error", 1, "refused", "repaired"),
        Treatment("no-area-point", "warning", 4, "left out", "left out"),
        Treatment("box-clipped", "warning", 1, "repaired", "repaired"),
        Treatment("near-leak", "warning", 1, "kept", "kept"),
    )


def test_every_code_that_is_listed_is_one_that_readers_give() -> None:
    """A code that is renamed in a reader must not be forgotten here."""
    given: dict[str, set[str]] = {"error": set(), "warn": set(), "warn_shared": set()}
    for file in Path(everymask.data.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in given:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant):
                    given[node.func.attr].add(str(first.value))
    assert (_REPAIRED | _LEFT_OUT) - given["warn"] - given["warn_shared"] == set()
    assert _REPAIRED_BY_SKIP - given["error"] == set()
    assert not _REPAIRED & _LEFT_OUT
