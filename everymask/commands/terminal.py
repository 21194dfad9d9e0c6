"""Answers: JSON for programs, tables for people, both on stdout; progress on stderr."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group

answered: ContextVar[bool] = ContextVar("answered", default=False)
"""Whether JSON has been printed since the command began: what follows then is no answer of its own."""


def show(*answers: object) -> None:
    """Print texts and tables, without colours where stdout is no terminal."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    # Captured first: on a broken pipe rich would end the process with a code of its own.
    with console.capture() as text:
        for answer in answers:
            console.print(answer, soft_wrap=isinstance(answer, str))
    sys.stdout.write(text.get())


def show_json(answer: dict[str, Any]) -> None:
    """Print one JSON object."""
    answered.set(True)
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=2) + "\n")


def show_json_error(error: BaseException, exit_code: int) -> None:
    """Print why there is no answer as one JSON object: kind, message, hint, exit code, and the defects of files."""
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
    issues = [asdict(issue) for issue in getattr(error, "issues", ())]
    kind = type(error).__name__
    said = {"kind": kind, "message": message or kind, "hint": hint, "exit_code": exit_code, "issues": issues}
    show_json({"error": said})


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Group:
    """A titled table for `show`: text in the first column, numbers aligned at the right in the others."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(cell)) for cell in row))
    return Group(Text(title, "bold"), made)


def _cell(value: object) -> str:
    """Numbers with three digits, and a dash for what is not defined."""
    if not isinstance(value, float):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.3f}"


def quoted(path: object) -> str:
    """A path as it is typed in a shell."""
    return shlex.quote(str(path))


@contextmanager
def progress(what: str, *, shown: bool = True) -> Iterator[Callable[[float, int], None]]:
    """A bar on stderr, moved by calling it with (done, total); nothing unless `shown`, and stderr is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, markup=False, emoji=False)
    with Progress(console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
