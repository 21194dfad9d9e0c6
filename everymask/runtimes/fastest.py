"""Which runtime calculates a model fastest on this machine: tried on the first pictures, then remembered."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import everymask
from everymask.core.cache import cache_folder
from everymask.core.files import write_json
from everymask.core.machine.cores import usable_cores
from everymask.core.machine.processor import processor_name
from everymask.errors import ConfigError, MachineError, MissingExtra, WeightsError, printable
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import Source
from everymask.runtimes.loading import EngineName, digest_of

WORTH = 20
"""For fewer pictures, trying takes longer than it saves."""
TRIED = 4
"""On how many pictures runtimes are tried."""
_ROUNDS = 3
_LONG = 5.0
_CLEARLY = 0.95
"""A runtime takes the place of the usual one where it needs at most this share of its time."""


@dataclass(frozen=True, slots=True)
class Fastest:
    """The runtime to take, and the `seconds` that each one needed for a picture."""

    runtime: EngineName
    seconds: Mapping[str, float]

    def sentence(self) -> str:
        """What was found, in a line."""
        others = [f"{name} {took:.3f}" for name, took in self.seconds.items() if name != self.runtime]
        beside = f", {', '.join(others)}" if others else ""
        return f"runtime {self.runtime}: {self.seconds[self.runtime]:.3f} s per picture here{beside}"


def measure(
    models: Sequence[tuple[EngineName, Callable[[], Predictor]]],
    pictures: Sequence[Source],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Fastest, Predictor] | None:
    """The fastest of the runtimes, the usual one first, and the model as it runs there.

    Each predicts all `pictures` once to warm up, then in turns until each has done so three times or 5 seconds are
    over; its best time counts. One that cannot run here, or not these pictures, is left out; None where all are.
    """
    ready: dict[EngineName, Predictor] = {}
    for name, load in models:
        with suppress(ConfigError, MissingExtra, WeightsError):
            model = load()
            if _predicted(model, pictures):
                ready[name] = model
    best = dict.fromkeys(ready, float("inf"))
    begun = clock()
    for done in range(_ROUNDS):
        if done and clock() - begun > _LONG:
            break
        for name, model in ready.items():
            started = clock()
            _predicted(model, pictures)
            best[name] = min(best[name], (clock() - started) / len(pictures))
    if not best:
        return None
    usual = next(iter(best))
    chosen = min(best, key=lambda name: best[name])
    chosen = chosen if best[chosen] <= _CLEARLY * best[usual] else usual
    return Fastest(chosen, {str(name): took for name, took in best.items()}), ready[chosen]


def _predicted(model: Predictor, pictures: Sequence[Source]) -> int:
    """How many pictures could be predicted."""
    return sum(isinstance(outcome, Result) for outcome in model.attempts(pictures))


def remembered(key: str) -> Fastest | None:
    """What was found before; None where nothing was, or what is kept cannot be read."""
    with suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):
        kept = json.loads(_place(key).read_bytes())
        found = Fastest(kept["runtime"], {str(name): float(took) for name, took in kept["seconds"].items()})
        return found if found.runtime in found.seconds else None
    return None


def remember(key: str, found: Fastest) -> None:
    """Keep it in the user's cache folder, where that can be written."""
    with suppress(MachineError, RuntimeError):
        write_json(_place(key), asdict(found))


def key_of(files: Iterable[Path], runtimes: Iterable[EngineName], *asked: object) -> str:
    """What an answer depends on: the model's files, the runtimes and their versions, this machine, and what is `asked`
    of them.
    """
    known = [everymask.__version__, platform.machine(), processor_name(), len(usable_cores()), *map(digest_of, files)]
    parts = [*known, *(f"{name} {_version(name)}" for name in runtimes), *asked]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _version(runtime: EngineName) -> str:
    try:
        return version(runtime)
    except PackageNotFoundError:
        return ""


def _place(key: str) -> Path:
    return cache_folder() / "fastest" / f"{printable(key)}.json"
