"""What a setting may be. `ConfigError` names the setting, what it must be and what it is."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from everymask.errors import ConfigError, unknown

MOST_SIDE = 65_500


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `least` to `most`; not the least itself if they must be `above` it, nor the most if `below`."""

    least: float
    most: float
    whole: bool = False
    above: bool = False
    below: bool = False

    def __contains__(self, value: object) -> bool:
        kind = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not math.isfinite(value):
            return False
        return self.least <= value <= self.most and not (
            (self.above and value == self.least) or (self.below and value == self.most)
        )

    def __str__(self) -> str:
        bounds = (
            f"{'above' if self.above else 'from'} {self.least:g} {'to below' if self.below else 'to'} {self.most:g}"
        )
        return f"{'a whole number' if self.whole else 'a number'} {bounds}"


def check_range(name: str, value: object, allowed: Range) -> None:
    """None stands for "not set" and passes."""
    if value is not None and value not in allowed:
        raise ConfigError(f"{name} must be {allowed}, but got {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str], *, may_be_open: bool) -> None:
    """One of `choices`, or None where it `may_be_open`."""
    if value not in choices and not (value is None and may_be_open):
        raise unknown(name, value, choices)


def check_size(size: object) -> None:
    """One side, or (height, width); None passes."""
    sides = (size, size) if isinstance(size, int) else size
    if sides is None:
        return
    if not (
        isinstance(sides, tuple)
        and len(sides) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 32 <= side <= MOST_SIDE for side in sides)
    ):
        raise ConfigError(
            f"size must be one side, or height and width, from 32 to {MOST_SIDE} pixels, but got {size!r}"
        )


def check_resize(resize: tuple[int, int] | None) -> None:
    """A short and a long side; None passes."""
    if resize is not None and not 1 <= resize[0] <= resize[1] <= MOST_SIDE:
        raise ConfigError(f"resize must be a short and a long side, 1 <= short <= long, but got {resize}")


def check_milestones(milestones: tuple[float, ...]) -> None:
    """Fractions of a run."""
    if any(not 0 < milestone < 1 for milestone in milestones) or list(milestones) != sorted(milestones):
        raise ConfigError(f"milestones must be rising fractions between 0 and 1, but got {milestones}")


def checked_path(name: str, value: object) -> str:
    """The path as text."""
    text = str(value)
    if not text or not text.isprintable():
        raise ConfigError(f"{name} must be a path, but got {text!r}")
    return text


def check_names(values: object, cls: type[Any], prefix: str = "") -> None:
    """A JSON object whose names are fields of `cls`; `prefix` says where it stands."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the settings'} must be a JSON object, but got {values!r}")
    known = [column.name for column in fields(cls)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0)
            raise ConfigError(
                f"there is no setting {prefix + str(name)!r}",
                hint=f"did you mean {prefix + near[0]!r}?" if near else "",
            )
