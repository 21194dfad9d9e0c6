"""One run as a row of a table, from what its folder says; torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from everymask.core.json.sealed import read_sealed
from everymask.errors import EverymaskError, printable
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.schedule import seconds as seconds_of
from everymask.train.folder.ended import Ended, Score, read_ended
from everymask.train.folder.layout import BEST, CONFIG, LOG, NONFINITE, ORIGIN, SPLITS, STATE
from everymask.train.folder.lock import is_locked
from everymask.train.folder.log_lines import PLACE, read_course
from everymask.train.runs.settings import plain_settings

State: TypeAlias = Literal["running", "finished", "interrupted", "failed"]
_FINISHED = ("finished", "time limit", "no progress")


class NoRun(Exception):
    """A folder from which no row can be made; the text says why, as the end of a line that begins with the folder."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What the folder of a run says.

    `why` completes `state`: that time was up, what went wrong. `step` optimizer steps, which are `epoch` epochs, of
    `epochs` that were planned, are done in `seconds`. `data` is the digest of the data ("": an earlier version knew
    none), `model` the network's name, `size` how many bytes the best weights take (None: there are none), `settings`
    are those that decide the result, by the names of the options, and `asked` the same as they were before anything
    was chosen from the data.
    """

    folder: Path
    state: State
    why: str = ""
    score: Score | None = None
    step: int = 0
    epoch: float = 0.0
    epochs: int | None = None
    seconds: float = 0.0
    data: str = ""
    size: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The network's name, as `everymask models` lists it."""
        return str(self.settings.get("model") or "")


def looks_like_run(names: set[str], folder: Path) -> bool:
    """Whether a folder that holds files of these names is, was or is about to be a run's."""
    return bool(names & {CONFIG, ORIGIN, BEST}) or is_locked(folder)


def read_row(folder: Path) -> RunRow:
    """The row of a run, whatever is missing or damaged in its folder as far as that leaves something to say."""
    config, asked, origin, damaged = _read_settings(folder)
    ended = None
    try:
        ended = read_ended(folder)
    except (OSError, ValueError) as error:
        damaged = damaged or f"ended.json is damaged: {error}"
    course = _Course.of(folder, ended)
    settings = {} if config is None else plain_settings(config)
    state, why = _state(folder, config, ended, course)
    size = None
    with suppress(OSError):
        size = (folder / BEST).stat().st_size
    return RunRow(
        folder,
        state,
        why or damaged,
        (ended.score if ended else None) or course.best,
        course.step,
        course.epoch,
        None if config is None else config.epochs,
        course.seconds,
        str(origin.get("data") or ""),
        size,
        settings,
        {} if asked is None else plain_settings(asked),
    )


def _read_settings(folder: Path) -> tuple[TrainConfig | None, TrainConfig | None, dict[str, Any], str]:
    """What was decided, what was asked, all that was written at the beginning, and what is damaged, in words."""
    origin: dict[str, Any] = {}
    damaged = ""
    try:
        origin = read_sealed(folder / ORIGIN)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        damaged = f"{ORIGIN} is damaged: {_reason(error)}"
    asked = None
    with suppress(ValueError, TypeError, KeyError, EverymaskError):
        asked = _config(origin["settings"])
    try:
        return _config(read_sealed(folder / CONFIG)), asked, origin, damaged
    except FileNotFoundError:
        if not origin and not is_locked(folder):
            what = "weights without a run" if (folder / BEST).exists() else damaged or "no run"
            raise NoRun(f"{what}: there is no {CONFIG}") from None
    except (OSError, ValueError, TypeError, EverymaskError) as error:
        raise NoRun(f"{CONFIG} is damaged or no run's: {_reason(error)}") from error
    return asked, asked, origin, damaged


def _config(found: dict[str, Any]) -> TrainConfig:
    if "model" not in found:
        raise ValueError("it names no model")
    return config_from_json(found)


@dataclass(frozen=True, slots=True)
class _Course:
    """How far a run is, by whatever was written last, and its best score."""

    step: int
    epoch: float
    seconds: float
    best: Score | None
    best_step: int
    validated: int | None
    per_epoch: float

    @classmethod
    def of(cls, folder: Path, ended: Ended | None) -> _Course:
        entries: list[dict[str, Any]] = []
        with suppress(OSError):
            entries = read_course(folder / LOG)
        places = [(entry["step"], entry["seconds"]) for entry in entries]
        if ended and ended.step is not None:
            places.append((ended.step, ended.seconds or 0.0))
        if saved := _saved(folder):
            places.append(saved)
        step, spent = max(places, default=(0, 0.0))
        last = max(entries, key=lambda entry: entry["step"], default=None)
        per_epoch = last["step"] / last["epoch"] if last and last["epoch"] else _planned_steps(folder)
        scored = [(score, int(entry["step"])) for entry in entries if (score := _headline(entry))]
        best, best_step = max(scored, key=lambda row: row[0].value, default=(None, 0))
        validated = max((at for _, at in scored), default=None)
        return cls(step, step / per_epoch if per_epoch else 0.0, spent, best, best_step, validated, per_epoch)


def _headline(entry: Mapping[str, Any]) -> Score | None:
    """The first number of a validation."""
    if entry["kind"] != "validation":
        return None
    return next((Score(name, float(value)) for name, value in entry.items() if name not in PLACE), None)


def _saved(folder: Path) -> tuple[int, float] | None:
    """Steps and seconds of the newest saved state that can be read."""
    for file in sorted((folder / STATE).glob("step-*/state.json"), reverse=True):
        with suppress(OSError, ValueError, KeyError, TypeError):
            progress = read_sealed(file)["progress"]
            return int(progress["step"]), float(progress["seconds"])
    return None


def _planned_steps(folder: Path) -> float:
    """Steps of an epoch where the log does not tell; 0 where nothing does."""
    with suppress(OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        config, split = read_sealed(folder / CONFIG), json.loads((folder / SPLITS).read_bytes())
        return float(len(split["train"]) // (config["batch"] * config["accumulate"]))
    return 0.0


def _state(folder: Path, config: TrainConfig | None, ended: Ended | None, course: _Course) -> tuple[State, str]:
    if is_locked(folder):
        return "running", "" if course.step else "it begins"
    if ended is not None and ended.how in _FINISHED:
        return "finished", "" if ended.how == "finished" else ended.how
    if ended is not None:
        return ("failed", ended.error) if ended.how == "failed" else ("interrupted", "")
    if config is None or not course.step:
        return "interrupted", "before its first saved state"
    return _state_of_old(folder, config, course)


def _state_of_old(folder: Path, config: TrainConfig, course: _Course) -> tuple[State, str]:
    """Of a run that left no word of its end: it was killed, or an earlier version trained it."""
    judged = course.validated in (None, course.step)
    if judged and config.epochs is not None and course.epoch >= config.epochs - 1e-3:
        return "finished", ""
    if judged and config.time_limit is not None and course.seconds >= seconds_of(config.time_limit):
        return "finished", "time limit"
    waited = (course.step - course.best_step) / course.per_epoch if course.per_epoch else 0.0
    if config.patience is not None and course.best is not None and waited >= config.patience:
        return "finished", "no progress"
    with suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads((folder / NONFINITE).read_bytes())["step"] == course.step:
            return "failed", f"step {course.step}: the loss or the gradient is not finite"
    return "interrupted", ""


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else getattr(error, "message", error)
    return printable(said)
