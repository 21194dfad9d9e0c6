"""Answers: JSON for programs, tables for people, both on stdout; progress on stderr."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Group

answered: ContextVar[bool] = ContextVar("answered", default=False)
"""Whether JSON has been printed since the command began: what follows then is no answer of its own."""

Item = TypeVar("Item")
_EVERY = 30.0
_SOME = 1000


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


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A line as by `speaking`, moved by calling it with how many pictures more are done and how many of these failed.

    It says how many are done, failed and remaining, and how many are done in a second. The first call is what was done
    before.
    """
    begun = time.monotonic()
    done = failed = 0
    before: int | None = None

    with speaking(what) as say:

        def move(more: int, bad: int) -> None:
            nonlocal done, failed, before
            before = more if before is None else before
            done, failed = done + more, failed + bad
            rate = (done - before) / max(time.monotonic() - begun, 1e-9)
            left = timedelta(seconds=round((total - done) / rate)) if rate > 0 else "?"
            say(f"{what}: {done:,} of {total:,}, {failed:,} failed, {rate:,.1f} per second, {left} left")

        yield move


def watched(what: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items as they come, which are counted by a line as by `speaking`."""
    with speaking(what) as say:
        for number, item in enumerate(items, start=1):
            if number % _SOME == 0:
                say(f"{what}: {number:,}")
            yield item


@contextmanager
def speaking(what: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says `what` is done, then what it is called with.

    A terminal always shows the newest; elsewhere, as in the log of a cluster, there is one each half minute.
    """
    from rich.console import Console
    from rich.status import Status

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    said = time.monotonic()
    if console.is_terminal:
        with Status(what, console=console) as shown:
            yield shown.update
        return

    def say(line: str) -> None:
        nonlocal said
        if time.monotonic() - said > _EVERY:
            said = time.monotonic()
            console.print(line, soft_wrap=True)

    yield say
