"""The one family of exceptions, the table row that every defect in a file becomes, and text made fit to be printed.

Each class carries the exit status of the command line: 1 a training that diverged, 2 usage or configuration, 3 data,
4 the machine (disk, permission, memory, a missing package), 5 a model file.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Issue:
    """One defect of one input: what was expected, what was found, where, and how to mend it.

    `code` is a stable kebab-case word (`"rle-size"`), `where` a JSON pointer, a line or a field inside `file`, `value`
    the offending value, shortened, and `hint` the cure. It stands for `count` defects, more than one where a list was
    cut short.
    """

    code: str
    message: str
    file: str = ""
    where: str = ""
    value: str = ""
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    count: int = 1

    def __str__(self) -> str:
        place = printable(":".join(part for part in (self.file, self.where) if part))
        text = f"{place}: {self.message}" if place else self.message
        if self.value:
            text += f" (found {printable(self.value)})"
        return f"{text} [{self.code}]" + (f"\n    {self.hint}" if self.hint else "")


class EverymaskError(Exception):
    """Anything that everymask refuses; `hint` says how to mend it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n    {self.hint}" if self.hint else self.message


class ConfigError(EverymaskError):
    """An option, a setting or an argument that cannot be used."""

    exit_code = 2


class DataError(EverymaskError):
    """Pictures or annotations that cannot be used; `issues` lists the defects (capped), `total` counts them all."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", issues: Iterable[Issue] = (), total: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.issues: tuple[Issue, ...] = tuple(issues)
        self.total: int = len(self.issues) if total is None else total

    def __str__(self) -> str:
        lines = [super().__str__(), *(f"  {issue}" for issue in self.issues[:_SHOWN])]
        if self.total > min(len(self.issues), _SHOWN):
            lines.append(f"  ... and {self.total - min(len(self.issues), _SHOWN)} more")
        return "\n".join(lines)


class MachineError(EverymaskError):
    """The disk, a permission, the memory or the device stands in the way."""

    exit_code = 4


class UnusableHere(DataError, MachineError):
    """One file that the machine does not give: a permission, a broken disk, a name too long, too little memory for it.

    It is as good as damaged, and others are not: whoever goes on behind a damaged file goes on behind this one.
    """

    exit_code = 4


class FellowError(MachineError):
    """Another process of those that work together failed and says why, or was lost: this one says nothing."""


class MissingExtra(MachineError):
    """An optional package is not installed."""


class TrainingError(EverymaskError):
    """A training that cannot go on: its loss or its gradient is no longer a number."""


class WeightsError(EverymaskError):
    """A model file that is broken, unsafe, or belongs to another model."""

    exit_code = 5


_MOST_LISTED = 30


def unknown(what: str, value: object, choices: Iterable[str]) -> ConfigError:
    """The error for a `value` that is none of the `choices`: it names the nearest, and all of them in their order.

    Of so many that the nearest would be lost among them only the three nearest are named, where there are some.
    """
    listed = sorted(choices)
    many = len(listed) > _MOST_LISTED
    near = difflib.get_close_matches(str(value).lower(), listed, n=3 if many else 1)
    known = f"{len(listed)} known names" if many and near else ", ".join(listed)
    *others, last = near or [""]
    return ConfigError(
        f"{what} must be one of {known}, but got {printable(repr(value))}",
        hint=f"did you mean {', '.join(others) + ' or ' if others else ''}{last}?" if near else "",
    )


def require(module: str, extra: str = "") -> ModuleType:
    """Import an optional package, or say in one line how to install it: by an extra, or where none has it by itself."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        wanted = f'"everymask[{extra}]"' if extra else module
        raise MissingExtra(f"this needs {module}: pip install {wanted}") from None


def printable(text: object, limit: int = 200) -> str:
    """The text on one line, control characters and lone surrogates escaped, shortened to `limit` characters."""
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in shown
        )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def counted(number: int, noun: str, plural: str = "s") -> str:
    """`1 class`, `2,000 classes`."""
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def listed(names: Iterable[object], most: int = 10) -> str:
    """The first names, separated by commas, and how many more there are."""
    shown = [printable(name, limit=40) for name in names]
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
