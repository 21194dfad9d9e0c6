"""The lines of a run's `log.jsonl`, read back without torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from everymask.core.json.values import value_of
from everymask.errors import counted, printable

PLACE = ("kind", "step", "epoch", "seconds")
"""Where a line stands in the run; what else a validation's line holds are its numbers, the headline first."""
_MOST_NUMBERS = 100_000
_ALWAYS = {
    "step": ("loss", "lr", "images_per_second", "memory_mb", "epoch", "seconds"),
    "validation": ("epoch", "seconds"),
}
_VALIDATION = b'{"kind": "validation"'
_STEP = b'{"kind": "step"'
_logger = logging.getLogger(__name__)


def read_log(file: Path) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl`. What is no such line, as one that was cut off or damaged, is left out.

    Only a damaged log has such lines before its last; that is logged as a warning.
    """
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    found = [_entry(line) for line in lines if line]
    damaged = sum(entry is None for entry in found[:-1])
    if damaged:
        _logger.warning("%s is damaged: %s left out", printable(file), counted(damaged, "line"))
    return [entry for entry in found if entry is not None]


def read_course(file: Path) -> list[dict[str, Any]]:
    """Of the lines of a `log.jsonl` the validations and the last step, in their order: much faster than all of them."""
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    found = [entry for line in lines if line.startswith(_VALIDATION) and (entry := _entry(line))]
    steps = (entry for line in reversed(lines) if line.startswith(_STEP) and (entry := _entry(line)))
    return [*found, *([last] if (last := next(steps, None)) else [])]


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line of the log, or None where it is none that `Log` writes."""
    try:
        entry = json.loads(line)
        kind = value_of(Literal["note", "step", "validation"], entry["kind"], "kind")
        if kind == "note":
            value_of(str, entry["text"], "text")
        else:
            numbers = {name: value for name, value in entry.items() if name != "kind"}
            value_of(Mapping[str, float], numbers, "entry", most_values=_MOST_NUMBERS)
            value_of(int, entry["step"], "step")
            for name in _ALWAYS[kind]:
                entry[name]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return dict(entry)
