"""Lists of runs: which there are, where each lies, and the file that keeps them; torch-free."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from everymask.core.files import write_json
from everymask.core.json.sealed import read_sealed, sealed
from everymask.errors import ConfigError, EverymaskError, WeightsError, printable
from everymask.settings.checks import Range, check_range
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.going_on import changed_settings

LIST = "runs.json"
"""The file that makes a folder that of a list of runs."""
SEEDS = Range(1, 1000, whole=True)
_VERSION = 1
_LONGEST = 80
_FREE = ("out", "resume", "overwrite", "device", "workers", "save_every", "data", "images", "masks")


@dataclass(frozen=True, slots=True)
class RunList:
    """Runs that belong together, each in a folder of its own below `out`; how they are kept is each one's business."""

    out: Path
    runs: tuple[TrainConfig, ...]

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folder of each."""
        return tuple(Path(run.out) for run in self.runs)

    def name(self, run: TrainConfig) -> str:
        """The folder of a run, as it is called from `out`."""
        return Path(run.out).relative_to(self.out).as_posix()


def list_of(out: str | Path, settings: Iterable[tuple[Sequence[tuple[str, str]], TrainConfig]]) -> RunList:
    """A run for each of the settings, whose folder is named by the (option, value) pairs in which they differ.

    `ConfigError` where two are the same.
    """
    runs: dict[str, TrainConfig] = {}
    for pairs, config in settings:
        plain = folder = folder_name(pairs)
        alike = [name for name, other in runs.items() if not _differences(other, config)]
        if alike:
            raise ConfigError(
                f"{folder_name(pairs)} and {alike[0]} are the same training", hint="leave one of them out"
            )
        while folder in runs:
            folder = f"{plain}-{len(runs) + 1}"
        runs[folder] = config
    there = [replace(config, out=str(Path(out) / folder), resume=False) for folder, config in runs.items()]
    return RunList(Path(out), tuple(there))


def folder_name(pairs: Sequence[tuple[str, str]]) -> str:
    """`lr-1e-3_model-unet`: what can be typed and every file system takes."""
    words = (re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{name}-{value}").strip("-.") for name, value in pairs)
    return "_".join(words)[:_LONGEST].rstrip("-._")


def over(listed: RunList, seeds: int) -> RunList:
    """Each run so often, with the seeds from its own on, in folders called `seed-0` and so on."""
    check_range("seeds", seeds, SEEDS)
    runs = [
        replace(run, seed=seed, out=str(Path(run.out) / f"seed-{seed}"))
        for run in listed.runs
        for seed in range(run.seed, run.seed + seeds)
    ]
    return RunList(listed.out, tuple(runs))


def write_list(listed: RunList) -> None:
    """Write which runs there are; whole or not at all."""
    rows = [{"folder": listed.name(run), "settings": _stored(run)} for run in listed.runs]
    write_json(listed.out / LIST, sealed({"version": _VERSION, "runs": rows}), indent=1)


def read_list(out: Path) -> RunList:
    """The list that lies in a folder; `WeightsError` where it is damaged or not there."""
    try:
        found = read_sealed(out / LIST)
        if found.get("version") != _VERSION:
            raise ValueError(f"its form is {found.get('version')!r}, but this version reads {_VERSION}")
        return RunList(out, tuple(_listed(out, row) for row in found["runs"]))
    except (OSError, ValueError, KeyError, TypeError, EverymaskError) as error:
        raise WeightsError(
            f"{printable(out / LIST)} is damaged: {printable(error)}",
            hint="bring it back as it was, or write the whole command again, with --overwrite, to begin anew",
        ) from error


def _listed(out: Path, row: dict[str, Any]) -> TrainConfig:
    folder = PurePosixPath(row["folder"])
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"{folder} is no folder below it")
    return replace(config_from_json(row["settings"]), out=str(out / folder))


def check_same(before: RunList, now: RunList) -> None:
    """`ConfigError` says in what two lists of one folder differ, which would mix what does not belong together."""
    first, second = ({one.name(run): run for run in one.runs} for one in (before, now))
    if first.keys() != second.keys():
        changed = ", ".join(sorted(first.keys() ^ second.keys())[:4])
    else:
        pairs = {name: _differences(run, second[name]) for name, run in first.items()}
        changed = next((f"{name}: {', '.join(found)}" for name, found in pairs.items() if found), "")
    if changed:
        raise ConfigError(
            f"{printable(now.out)} holds another list of runs; the difference is {printable(changed)}",
            hint=f"go on with that one (train --resume {printable(now.out)}), replace it (--overwrite), or choose "
            "another --out",
        )


def _differences(run: TrainConfig, other: TrainConfig) -> list[str]:
    return [name for name in changed_settings(run, other) if name not in _FREE]


def _stored(run: TrainConfig) -> dict[str, Any]:
    return replace(run, resume=False, overwrite=False).to_json()
