"""What the texts behind `--split`, `--group-by` and `--tile` mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from everymask.data.records import Record
from everymask.errors import ConfigError, printable

if TYPE_CHECKING:
    from everymask.data.conversion.tiles import Tiles

_SPLITS = ("train", "val", "test")
_FOLDER = "folder"


def read_fractions(text: str) -> list[tuple[str, float]]:
    """The splits train, val and perhaps test with their shares, of a text such as 80/10/10 or 0.8/0.2."""
    hint = "for example 80/20 (train/val) or 80/10/10 (train/val/test)"
    try:
        parts = [float(part.strip().removesuffix("%")) for part in text.split("/")]
    except ValueError:
        raise ConfigError(f"split must be numbers with / in between, but got '{printable(text)}'", hint=hint) from None
    if len(parts) not in (2, 3) or not all(math.isfinite(part) and part > 0 for part in parts):
        raise ConfigError(f"split must be two or three numbers above 0, but got '{printable(text)}'", hint=hint)
    total = math.fsum(parts)
    whole = next((whole for whole in (100, 1) if math.isclose(total, whole, rel_tol=1e-6)), None)
    if whole is None:
        raise ConfigError(
            f"the parts of a split must add up to 100 (or 1), but {printable(text)} adds up to {total:g}", hint=hint
        )
    return [(name, part / total) for name, part in zip(_SPLITS, parts, strict=False)]


def read_key(text: str) -> Callable[[Record], str]:
    """What pictures must have in common to stay in one split: their folder, or the first group of a regular expression
    that is looked for in their file names.
    """
    if text == _FOLDER:
        return lambda record: str(record.image.parent)
    hint = f"for example --group-by '^(patient\\d+)_', or --group-by {_FOLDER}"
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ConfigError(f"group-by is no regular expression: {error}, in '{printable(text)}'", hint=hint) from None
    if not pattern.groups:
        raise ConfigError(f"group-by needs a group in parentheses, but got '{printable(text)}'", hint=hint)

    def key(record: Record) -> str:
        found = pattern.search(record.image.name)
        if found is None or found.group(1) is None:
            raise ConfigError(
                f"group-by '{printable(text)}' does not fit the file name {printable(record.image.name)}", hint=hint
            )
        return found.group(1)

    return key


def read_tiles(text: str) -> Tiles:
    """Tiles of a side in pixels and an overlap as a share of it, of a text such as 1024/0.2 or 1024."""
    from everymask.data.conversion.tiles import Tiles

    side, slash, overlap = text.partition("/")
    try:
        return Tiles(int(side), float(overlap)) if slash else Tiles(int(side))
    except ValueError:
        message = f"tile must be a side in pixels, / and an overlap, but got '{printable(text)}'"
        raise ConfigError(message, hint="for example 1024/0.2: neighbours share a fifth of their side") from None
