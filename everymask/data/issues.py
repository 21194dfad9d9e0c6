"""Collecting the defects of a data set, so that a person sees all of them at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from everymask.errors import DataError, Issue, counted

Policy = Literal["strict", "skip"]
SEVERITIES: tuple[Literal["error", "warning"], ...] = ("error", "warning")
_KEPT = 1000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class IssueLog:
    """Defects met while reading one data set.

    With `policy="strict"` (the default of every reader) any error makes `finish` raise `DataError`; with `"skip"` the
    defective objects or pictures are left out, counted and listed. Warnings never raise. Of each severity the first
    1,000 are kept and all are counted: a last one stands for the rest. An oddity that a whole data set shares is one
    entry with its number.
    """

    policy: Policy = "strict"
    issues: list[Issue] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    shared: dict[str, Issue] = field(default_factory=dict)

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

    def warn_of(self, found: IssueLog, outcome: str) -> None:
        """Note what another log holds, its errors as warnings whose text ends in what became of them."""
        for issue in found.issues:
            message = f"{issue.message}; {outcome}" if issue.severity == "error" else issue.message
            self._note(replace(issue, message=message, severity="warning"))

    def warn_shared(self, code: str, message: str, *, file: object, hint: str = "") -> None:
        """Note an oddity that many files may share: listed once, with the first file and the number for `{count}`."""
        first = self.shared.setdefault(code, Issue(code, message, str(file), hint=hint, severity="warning", count=0))
        self.shared[code] = replace(first, count=first.count + 1)
        self.counts["warning", code] += 1

    def _note(self, issue: Issue) -> None:
        self.counts[issue.severity, issue.code] += 1
        if self.kept[issue.severity] < _KEPT:
            self.kept[issue.severity] += 1
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
                f"{what}: {counted(errors, 'defect')} found",
                hint="mend them, or leave the defective objects out with --on-defect skip",
                issues=listed,
                total=errors,
            )
        if errors:
            found = counted(errors, "defect")
            _log.warning("%s: %s; the annotations and pictures that cannot be used are left out", what, found)
        return self.noted()

    def noted(self) -> tuple[Issue, ...]:
        """All that was noted: what many files share, the first of all else, and what stands for the rest."""
        shared = [
            replace(found, message=found.message.replace("{count}", f"{found.count:,}", 1))
            for found in self.shared.values()
        ]
        return (*shared, *self.issues, *self.rest())

    def rest(self) -> Iterator[Issue]:
        """What was counted and not kept, one for each severity."""
        for severity in SEVERITIES:
            listed = (*self.issues, *self.shared.values())
            rest = self.total(severity) - sum(issue.count for issue in listed if issue.severity == severity)
            if rest:
                codes = ", ".join(
                    f"{n:,} x {code}" for (kind, code), n in self.counts.most_common() if kind == severity
                )
                message = f"{rest:,} more are not listed; all together: {codes}"
                yield Issue("more", message, severity=severity, count=rest)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
