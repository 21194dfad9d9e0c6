"""Runs side by side, for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from everymask.commands.terminal import show, table
from everymask.errors import counted, printable
from everymask.settings.schedule import clock
from everymask.train.folder.ended import Score
from everymask.train.runs.found import Runs
from everymask.train.runs.row import RunRow
from everymask.train.runs.seeds import OverSeeds, over_seeds
from everymask.train.runs.settings import differing

_MOST = 40
_MOST_COLUMNS = 5
_NAME = 60
_DIGEST = 8


def show_runs(found: Runs, rows: Sequence[RunRow]) -> None:
    """Print the rows, the settings in which they differ, the means over seeds, and what else lies in the folder."""
    shown = rows[:_MOST]
    if shown:
        title, columns = _columns(found, rows)
        show(table(title, columns, ([cell(row) for cell in columns.values()] for row in shown)))
    else:
        show(f"no run in {printable(found.root)}" + (" that the filters let through" if found.rows else ""))
    if len(rows) > _MOST:
        show(f"... and {len(rows) - _MOST:,} more: --filter and --sort choose, --json has all")
    _show_settings(found, shown, rows)
    _show_seeds(found, [group for group in over_seeds(rows) if len(group.runs) > 1])
    _show_remarks(found, shown, rows)


def _columns(found: Runs, rows: Sequence[RunRow]) -> tuple[str, dict[str, Callable[[RunRow], str]]]:
    """What stands above the table, and its columns; network and data are one only where they are not all the same."""
    scores, models = {row.score.name for row in rows if row.score}, {row.model for row in rows}
    data = {row.data for row in rows}
    named = len(scores) > 1
    columns: dict[str, Callable[[RunRow], str]] = {
        "run": partial(_name, found),
        "state": lambda row: row.state,
        next(iter(scores)) if len(scores) == 1 else "score": partial(_score, named=named),
        "95 %": _between,
        "epochs": lambda row: f"{row.epoch:.4g}/{row.epochs or '?'}",
        "time": lambda row: clock(row.seconds),
        "model": lambda row: row.model or "-",
        "data": lambda row: row.data[:_DIGEST] or "-",
        "MB": lambda row: "-" if row.size is None else f"{row.size / 1e6:,.1f}",
    }
    title = counted(len(rows), "run")
    if len(models) == 1:
        del columns["model"]
        title += f" of {rows[0].model or 'unknown networks'}"
    if len(data) == 1:
        del columns["data"]
        title += f" on data {rows[0].data[:_DIGEST]}" if rows[0].data else ""
    return title, columns


def _score(row: RunRow, *, named: bool) -> str:
    if row.score is None:
        return "-"
    return f"{row.score.name} {row.score.value:.3f}" if named else f"{row.score.value:.3f}"


def _between(row: RunRow) -> str:
    score = row.score
    return "-" if score is None or score.low is None or score.high is None else f"{score.low:.3f}-{score.high:.3f}"


def _show_settings(found: Runs, shown: Sequence[RunRow], rows: Sequence[RunRow]) -> None:
    names = [name for name in differing([row.settings for row in rows]) if name != "model"]
    if not names:
        return
    if len(names) <= _MOST_COLUMNS:
        cells = ((_name(found, row), *(_value(row.settings.get(name, "")) for name in names)) for row in shown)
        show(table("Settings that differ", ("run", *names), cells))
        return
    show("Settings that differ")
    for row in shown:
        values = (f"{name} {_value(row.settings[name])}" for name in names if name in row.settings)
        show(f"  {_name(found, row)}: {', '.join(values)}")
    show("")


def _show_seeds(found: Runs, groups: Sequence[OverSeeds]) -> None:
    if not groups:
        return
    rows = (
        (_group(found, group), len(group.runs), group.name, f"{group.mean:.3f}", f"{group.low:.3f} to {group.high:.3f}")
        for group in groups[:_MOST]
    )
    show(table("Over seeds", ("runs", "seeds", "score", "mean", "95 % t-interval"), rows))


def _group(found: Runs, group: OverSeeds) -> str:
    """The folder in which runs of several seeds lie, or the first of them."""
    parents = {run.folder.parent for run in group.runs}
    first = group.runs[0].folder
    name = found.name(first.parent) if len(parents) == 1 and first.parent != found.root else found.name(first) + " ..."
    return printable(name if name != "." else found.root.name, _NAME)


def _show_remarks(found: Runs, shown: Sequence[RunRow], rows: Sequence[RunRow]) -> None:
    for row in shown:
        if row.why:
            show(f"{_name(found, row)}: {row.state}: {printable(row.why)}")
    if len({(row.data, row.score.name) for row in rows if row.score}) > 1:
        show("scores on other data, or of another name, cannot be compared (data: the digest of what they hold)")
    for other in found.others[:_MOST]:
        show(f"{printable(found.name(other.folder), _NAME)}: {printable(other.reason)}")
    if len(found.others) > _MOST:
        show(f"... and {len(found.others) - _MOST:,} more folders without a row: --json has all")


def to_json(found: Runs, rows: Sequence[RunRow]) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "root": str(found.root),
        "runs": [_row(found, row) for row in rows],
        "differing": differing([row.settings for row in rows]),
        "over_seeds": list(_groups(found, over_seeds(rows))),
        "others": [{"run": found.name(other.folder), "reason": other.reason} for other in found.others],
    }


def _row(found: Runs, row: RunRow) -> dict[str, Any]:
    score = row.score
    return {
        "run": found.name(row.folder),
        "state": row.state,
        "why": row.why,
        "score": None if score is None else {"name": score.name, "value": score.value, "interval": _interval(score)},
        "step": row.step,
        "epoch": round(row.epoch, 4),
        "epochs": row.epochs,
        "seconds": row.seconds,
        "data": row.data or None,
        "model": row.model or None,
        "bytes": row.size,
        "settings": dict(row.settings),
    }


def _groups(found: Runs, groups: Sequence[OverSeeds]) -> Iterator[dict[str, Any]]:
    for group in groups:
        names = [found.name(run.folder) for run in group.runs]
        interval = None if math.isnan(group.low) else [group.low, group.high]
        yield {"runs": names, "score": group.name, "mean": group.mean, "interval": interval}


def _interval(score: Score) -> list[float] | None:
    return None if score.low is None or score.high is None else [score.low, score.high]


def _name(found: Runs, row: RunRow) -> str:
    return printable(found.name(row.folder), _NAME)


def _value(value: object) -> str:
    return "none" if value is None else printable(value, 40)
