"""What a training does with each kind of defect: begins not at all, keeps it, mends it, or leaves it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from everymask.errors import Issue

Outcome: TypeAlias = Literal["refused", "kept", "repaired", "left out"]

_REPAIRED_BY_SKIP = frozenset({"crowd-missing"})
"""Errors for which `skip` has a value to put in their place."""
_REPAIRED = frozenset({
    "area", "box-as-mask", "box-clipped", "box-empty", "box-turned", "class-names", "class-spelling", "clipped",
    "crowd-missing", "embedded-used", "image-rotation", "list-path", "mask-alpha", "mask-channels", "mask-fitted",
    "mask-levels", "mixed-classes", "mixed-lines", "name-spelling", "path-elsewhere", "polygon-clipped", "polygon-open",
    "rle-rows", "same-splits", "several-annotations", "several-labels", "shape-clipped", "track-end", "yaml-elsewhere",
})  # fmt: skip
"""Warnings about what was read as something else than what stands there."""
_LEFT_OUT = frozenset({
    "all-ignore", "all-void", "ignored-shapes", "no-picture", "not-a-mask", "not-annotated", "not-labelme",
    "not-listed", "passed-over", "unlabelled", "void",
})  # fmt: skip
_LEFT_OUT_KINDS = ("no-area-", "no-shape-")


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of one kind of defect, of which there are `count`, under each policy of `--on-defect`."""

    code: str
    severity: str
    count: int
    strict: Outcome
    skip: Outcome


def treatments(issues: Iterable[Issue]) -> tuple[Treatment, ...]:
    """One for each code and severity, errors first, then the most frequent."""
    counts: Counter[tuple[str, str]] = Counter()
    for issue in issues:
        counts[issue.severity, issue.code] += issue.count
    ordered = sorted(counts.items(), key=lambda row: (row[0][0], -row[1], row[0][1]))
    return tuple(Treatment(code, severity, count, *_outcomes(code, severity)) for (severity, code), count in ordered)


def _outcomes(code: str, severity: str) -> tuple[Outcome, Outcome]:
    """Under `strict` and under `skip`. Warnings are dealt with in the same way by both."""
    if severity == "error":
        return "refused", "repaired" if code in _REPAIRED_BY_SKIP else "left out"
    if code in _REPAIRED:
        return "repaired", "repaired"
    if code in _LEFT_OUT or code.startswith(_LEFT_OUT_KINDS):
        return "left out", "left out"
    return "kept", "kept"
