"""The order that people see in names with numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_NUMBER = re.compile(r"(\d+)")


def in_order(files: Iterable[Path]) -> list[Path]:
    """Files by their paths, in which numbers count as numbers: frame2.png before frame10.png."""
    return sorted(files, key=lambda file: ([_parts(part) for part in file.parts], str(file)))


def _parts(name: str) -> list[tuple[int, str]]:
    """Text and numbers in turn."""
    pieces = _NUMBER.split(name.casefold())
    return [(int(piece), "") if place % 2 else (0, piece) for place, piece in enumerate(pieces)]
