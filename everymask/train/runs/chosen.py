"""Runs sorted, and those of them that were asked for."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from everymask.errors import ConfigError
from everymask.settings.schedule import seconds
from everymask.train.runs.found import Runs, in_order
from everymask.train.runs.row import RunRow

_FIRST_BEST = "score"
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {"<=": le, ">=": ge, "!=": ne, "<": lt, ">": gt, "=": eq}
_FORM = re.compile(r"([^<>=!]+)(<=|>=|!=|<|>|=)(.*)", re.DOTALL)


def values_of(runs: Runs, row: RunRow) -> dict[str, Any]:
    """What a run can be sorted and chosen by: what the table shows, and its settings."""
    return {
        "run": runs.name(row.folder),
        "state": row.state,
        "score": row.score.value if row.score else None,
        "step": row.step,
        "epoch": row.epoch,
        "time": row.seconds,
        "data": row.data,
        "MB": None if row.size is None else row.size / 1e6,
    } | dict(row.settings)


@dataclass(frozen=True, slots=True)
class Filter:
    """Runs whose `key` is so compared with `value`."""

    key: str
    sign: str
    value: str

    def lets(self, values: dict[str, Any]) -> bool:
        """Whether a run with these values is asked for."""
        found, compared = values.get(self.key), _COMPARED[self.sign]
        wanted = _number(self.value, self.key)
        if isinstance(found, int | float) and not isinstance(found, bool):
            if wanted is None:
                return self.sign == "!="
            return compared(found, wanted)
        if self.sign in ("=", "!="):
            same = _text(found) == self.value or (
                self.key == "data" and self.value and _text(found).startswith(self.value)
            )
            return bool(same) == (self.sign == "=")
        return False


def read_filter(text: str) -> Filter:
    """The filter of `lr=0.001`, `score>0.5`, `time<=2h`; `ConfigError` where it is none."""
    parts = _FORM.fullmatch(text)
    if parts is None:
        raise ConfigError(
            f"a filter is a key, a sign and a value, but got {text!r}",
            hint="for example --filter state=finished 'lr>=0.001' (the shell needs quotes around < and >)",
        )
    key, sign, value = (part.strip() for part in parts.groups())
    if sign in ("<", ">", "<=", ">=") and _number(value, key) is None:
        raise ConfigError(f"{text!r} compares with {value!r}, which is no number", hint=f"write {key}={value}")
    return Filter(key.replace("-", "_"), sign, value)


def chosen(runs: Runs, filters: Sequence[Filter], sort: str | None) -> list[RunRow]:
    """The runs that all filters let through, by the key `sort`: the best score first, else the smallest.

    Without `sort` they stay in the order of their folders; those that have no such value come last. `ConfigError` names
    the key that is most like one that there is not.
    """
    all_values = {row.folder: values_of(runs, row) for row in runs.rows}
    sort = None if sort is None else sort.replace("-", "_")
    for key in [*(each.key for each in filters), *([] if sort is None else [sort])]:
        _check_key(key, {name for values in all_values.values() for name in values})
    rows = [row for row in runs.rows if all(each.lets(all_values[row.folder]) for each in filters)]
    return rows if sort is None else sorted(rows, key=lambda row: _place(sort, all_values[row.folder].get(sort)))


def _check_key(key: str, known: set[str]) -> None:
    if known and key not in known:
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0)
        raise ConfigError(
            f"runs have no {key!r}: no column and no setting is called so", hint=f"did you mean {near[0]}?"
        )


def _place(key: str, value: Any) -> tuple[int, float, list[tuple[int, str]]]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return 2, 0.0, []
    if isinstance(value, int | float):
        return 0, -value if key == _FIRST_BEST else value, []
    return 1, 0.0, in_order(_text(value))


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _number(text: str, key: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    if key == "time":
        with suppress(ConfigError):
            return seconds(text)
    return None
