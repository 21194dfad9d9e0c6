"""Collecting the defects of a data set, so that a person sees all of them at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from everymask.errors import DataError, Issue

Policy = Literal["strict", "skip"]
SEVERITIES: tuple[Literal["error", "warning"], ...] = ("error", "warning")
_KEPT = 1000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class IssueLog:
    """Defects met while reading one data set.

    With `policy="strict"` (the default of every reader) any error makes `finish` raise `DataError`; with `"skip"` the
    defective objects or pictures are left out, counted and listed. Warnings never raise. Of each severity the first
    1,000 are kept and all are counted: a last one stands for the rest.
    """

    policy: Policy = "strict"
    issues: list[Issue] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def error(
        self, code: str, message: str, *, file: object = "", where: object = "", value: object = "", hint: str = ""
    ) -> None:
        """Note a defect because of which an object or a picture cannot be used."""
        self._note(Issue(code, message, str(file), str(where), _short(value), hint, "error"))

    def warn(
        self, code: str, message: str, *, file: object = "", where: object = "", value: object = "", hint: str = ""
    ) -> None:
        """Note something odd that was dealt with as `message` says."""
        self._note(Issue(code, message, str(file), str(where), _short(value), hint, "warning"))

    def _note(self, issue: Issue) -> None:
        self.counts[issue.severity, issue.code] += 1
        if self.total(issue.severity) <= _KEPT:
            self.issues.append(issue)

    def total(self, severity: str) -> int:
        """How many errors, or warnings, there were."""
        return sum(count for (kind, _), count in self.counts.items() if kind == severity)

    def finish(self, what: str) -> tuple[Issue, ...]:
        """Raise `DataError` for `what` under the strict policy when there were errors; else return what was noted."""
        errors = self.total("error")
        if errors and self.policy == "strict":
            listed = [issue for issue in self.issues if issue.severity == "error"]
            raise DataError(
                f"{what}: {errors} defect{'s' if errors > 1 else ''} found",
                hint="mend them, or leave the defective objects out with --on-defect skip",
                issues=listed,
                total=errors,
            )
        if errors:
            _log.warning("%s: left out %d defective annotations or pictures", what, errors)
        return (*self.issues, *self.rest())

    def rest(self) -> Iterator[Issue]:
        """What was counted and not kept, one for each severity."""
        for severity in SEVERITIES:
            rest = self.total(severity) - sum(issue.severity == severity for issue in self.issues)
            if rest:
                codes = ", ".join(
                    f"{n:,} x {code}" for (kind, code), n in self.counts.most_common() if kind == severity
                )
                message = f"{rest:,} more are not listed; all together: {codes}"
                yield Issue("more", message, severity=severity, count=rest)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
