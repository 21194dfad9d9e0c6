"""How a training ended, in its folder: `ended.json`, which is there until the run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from everymask.core.files import write_json
from everymask.core.json.sealed import read_sealed, sealed
from everymask.core.json.values import value_of
from everymask.core.processes.rank import Rank
from everymask.errors import EverymaskError, MachineError, printable

if TYPE_CHECKING:
    from everymask.metrics.scores import Scores

ENDED = "ended.json"
HowEnded: TypeAlias = Literal["finished", "time limit", "no progress", "interrupted", "failed"]
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Score:
    """The headline of the best weights, with its 95 % interval over the validation pictures where there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a training ended, after how many steps and seconds (None: not known), how good its best weights are, and what
    went wrong in one that `failed`.
    """

    how: HowEnded
    step: int | None = None
    seconds: float | None = None
    score: Score | None = None
    error: str = ""


def score_of(scores: Scores) -> Score | None:
    """The headline of these scores; None where it is not defined."""
    if math.isnan(scores.headline):
        return None
    low, high = scores.interval
    known = (None, None) if math.isnan(low) else (float(low), float(high))
    return Score(scores.headline_name, float(scores.headline), *known)


def write_ended(folder: Path, ended: Ended) -> None:
    """Write how the training in `folder` ended; whole or not at all."""
    write_json(folder / ENDED, sealed({"version": _VERSION} | asdict(ended)), indent=1)


def read_ended(folder: Path) -> Ended | None:
    """How the training in `folder` ended; None where it did not, was killed, or an earlier version wrote nothing.

    `ValueError` where the file is damaged, `OSError` where it cannot be read.
    """
    try:
        found = read_sealed(folder / ENDED)
    except FileNotFoundError:
        return None
    if found.pop("version", None) != _VERSION:
        raise ValueError("it is of a form that this version does not read")
    ended: Ended = value_of(Ended, found, "ended")
    return ended


def clear_ended(folder: Path) -> None:
    """The training in `folder` goes on."""
    (folder / ENDED).unlink(missing_ok=True)


@contextmanager
def failure_kept(folder: Path, rank: Rank) -> Iterator[None]:
    """Within the block an exception leaves word in `folder` of what went wrong; of several processes the first does."""
    try:
        yield
    except Exception as error:
        said = error.message if isinstance(error, EverymaskError) else f"{type(error).__name__}: {error}"
        with suppress(MachineError):  # the disk may be what went wrong
            if rank.leads:
                write_ended(folder, Ended("failed", error=printable(said, limit=500)))
        raise
