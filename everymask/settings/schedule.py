"""What happens when: which layers learn in an epoch, and how long a run may take."""

from __future__ import annotations

import re
from dataclasses import dataclass

from everymask.errors import ConfigError

PRESETS = ("heads", "3+", "4+", "5+", "all", "lora")
_LORA = re.compile(r"lora(\d*)")
_LORA_RANK, _MOST_RANK = 8, 256
_SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Phase:
    """Until epoch `end` (exclusive; None: to the end of the run) the layers of `selection` learn."""

    selection: str
    end: int | None


def layer_phases(text: str) -> tuple[Phase, ...]:
    """The phases of `"heads:5,4+:10,all"`: 5 epochs of the heads, then 10 of stage 4 and up, then everything.

    A selection is `heads`, `3+`, `4+`, `5+`, `all`, `lora` (or `lora16`, with another rank than 8), or a regular
    expression over parameter names (without commas). Every phase but the last needs its number of epochs. `ConfigError`
    says which part cannot be read.
    """
    phases: list[Phase] = []
    parts = [part.strip() for part in text.split(",")]
    end = 0
    for index, part in enumerate(parts):
        selection, colon, count = part.rpartition(":")
        if not (colon and count.strip().isdigit()):
            selection, count = part, ""
        last = index == len(parts) - 1
        if not selection.strip() or (count and int(count) < 1) or not (count or last):
            raise ConfigError(
                f"layers: cannot read {part!r} of {text!r}",
                hint='write selections with their numbers of epochs, the last without: --layers "heads:5,4+:10,all"',
            )
        _check_selection(selection)
        end += int(count) if count else 0
        phases.append(Phase(selection, end if count and not last else None))
    ranks = sorted({rank for phase in phases if (rank := lora_rank(phase.selection))})
    if len(ranks) > 1:
        raise ConfigError(
            f"layers: updates have one rank, but {text!r} has {' and '.join(map(str, ranks))}",
            hint="write the same lora in every phase",
        )
    return tuple(phases)


def lora_rank(selection: str) -> int:
    """The rank of the low-rank updates that a selection lets learn; 0 where it is none of `lora`, `lora16` and so on.

    `ConfigError` for a rank outside 1-256.
    """
    found = _LORA.fullmatch(selection)
    if found is None:
        return 0
    rank = int(found[1] or _LORA_RANK)
    if not 1 <= rank <= _MOST_RANK:
        raise ConfigError(
            f"layers: the rank of {selection!r} must be 1-{_MOST_RANK}", hint="lora16 has the rank 16, lora the usual 8"
        )
    return rank


def phase_at(phases: tuple[Phase, ...], epoch: int) -> Phase:
    """The phase in which `epoch` (from 0) lies."""
    return next(phase for phase in phases if phase.end is None or epoch < phase.end)


def _check_selection(selection: str) -> None:
    if selection in PRESETS or lora_rank(selection):
        return
    try:
        re.compile(selection)
    except re.error as error:
        raise ConfigError(
            f"layers: {selection!r} is neither one of {', '.join(PRESETS)} nor a regular expression: {error}"
        ) from None


def seconds(text: str) -> float:
    """The seconds of a duration: `"90s"`, `"30m"`, `"2h"`, `"1h30m"`. `ConfigError` names these forms."""
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip().lower())
    total = (
        sum(float(part) * _SECONDS[unit] for part, unit in zip(parts.groups(), "hms", strict=True) if part)
        if parts
        else 0
    )
    if not total:
        raise ConfigError(f"cannot read the duration {text!r}", hint="write it as 90s, 30m, 2h or 1h30m")
    return total


def clock(total: float) -> str:
    """Seconds as a clock shows them: `0:12:05`."""
    minutes, rest = divmod(round(total), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
