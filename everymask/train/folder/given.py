"""What a run was given and decided, in its folder: `config.json`, `origin.json`, `splits.json` and `data.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from everymask.core.files import write_json
from everymask.core.json.sealed import read_sealed, sealed
from everymask.core.processes.launched import launched
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.data.identity.content import DATA, Identity, read_identity, write_identity
from everymask.data.identity.files import Mark, Seen
from everymask.data.splits import write_split
from everymask.errors import DataError, EverymaskError, WeightsError, printable
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.going_on import continued
from everymask.train.folder.layout import CONFIG, ORIGIN, SPLITS, STATE

_DIGEST = "data"
_LAUNCH = "launch"


@dataclass(frozen=True, slots=True)
class Given:
    """The pictures of a run, with their splits, what they hold, and their files as they were `seen`."""

    pictures: Dataset
    identity: Identity
    seen: Mapping[Path, Seen]


class Decided(Protocol):
    """What was decided for a run, as far as its folder tells."""

    @property
    def settings(self) -> TrainConfig:
        """Without an open one."""

    @property
    def preprocess(self) -> Preprocess:
        """How pictures are fed."""


def bring_back(folder: Path) -> str:
    """What to do where data are no longer what the run in `folder` learns from."""
    anew = f"start a new run from its weights: --weights {printable(folder)} --out ANOTHER"
    return f"bring them back as they were and go on with --resume, or {anew}"


def write_given(
    folder: Path, settings: TrainConfig, plan: Decided, given: Given, train_set: Dataset, measured: Fingerprint
) -> None:
    """Write what was given and what was found in the data, to be compared on resuming; then what was decided."""
    write_split(folder / SPLITS, given.pictures)
    write_held(folder, given)
    found = _found(train_set, measured, plan.preprocess) | {_DIGEST: given.identity.digest}
    launch = launched()
    if launch is not None:
        found[_LAUNCH] = launch.name
    write_json(folder / ORIGIN, sealed({"settings": settings.to_json()} | found), indent=1)
    write_decided(folder, plan)


def write_held(folder: Path, given: Given) -> None:
    """Write what the data hold, and by what their files are known again."""
    write_identity(folder / DATA, given.identity, given.seen.values())


def read_held(folder: Path) -> tuple[Identity, dict[Mark, str]] | None:
    """What the data held when the run began, and the digests of files by their marks; None where nobody wrote it.

    Earlier versions did not. `WeightsError` where it was written and is damaged, lost, or another run's.
    """
    file, digest = folder / DATA, _read(folder / ORIGIN).get(_DIGEST)
    if digest is None and not file.exists():
        return None
    try:
        identity, known = read_identity(file)
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error
    if digest not in (None, identity.digest):
        raise _damaged(file, ValueError(f"it is not what {ORIGIN} says it is"))
    return identity, known


def write_decided(folder: Path, plan: Decided) -> None:
    """Write the complete settings."""
    write_json(folder / CONFIG, sealed(replace(plan.settings, resume=False, overwrite=False).to_json()), indent=1)


def read_decided(folder: Path, given: TrainConfig) -> tuple[TrainConfig, tuple[str, ...]]:
    """The complete settings with which the run goes on, and lines on what is new in them; errors as in `continued`.

    Where the data are the same place, it is called what it was called when the run began.
    `WeightsError` where one of the files is damaged or was never written.
    """
    stored, origin = _read(folder / CONFIG), _read(folder / ORIGIN)
    try:
        before, settings = config_from_json(stored), config_from_json(origin["settings"])
    except (EverymaskError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / CONFIG, error) from error
    config, notes = continued(before, settings, given), []
    with suppress(OSError, ValueError):
        if Path(before.data).samefile(config.data):
            config = replace(config, data=before.data)
    if config.epochs != before.epochs:
        notes.append(f"{config.epochs} epochs instead of {before.epochs}: the learning rate follows the new end")
    if config.data != before.data:
        notes.append(f"the data lie in {printable(config.data)}, and no longer in {printable(before.data)}")
    return config, tuple(notes)


def read_preprocess(folder: Path, train_set: Dataset, measured: Fingerprint) -> Preprocess:
    """How pictures are fed since the run began; `DataError` when the data are no longer the same."""
    stored = _read(folder / ORIGIN)
    preprocess = Preprocess.from_json(stored.get("preprocess", {}))
    found = json.loads(json.dumps(_found(train_set, measured, preprocess)))
    before = stored.get("fingerprint")
    if isinstance(before, dict):  # an earlier version measured less
        found["fingerprint"] = {name: value for name, value in found["fingerprint"].items() if name in before}
    changed = [name for name, value in found.items() if stored.get(name) != value]
    if changed:
        raise DataError(
            f"the data are not those that this run began with: {' and '.join(changed)} changed",
            hint=bring_back(folder),
        )
    return preprocess


def taken_up(config: TrainConfig) -> TrainConfig:
    """The configuration, by which a process that its launcher has restarted goes on with the run that it began.

    That is so where the run in the folder was begun by the same launch. Without a saved state it begins anew.
    """
    launch, folder = launched(), Path(config.out)
    if launch is None or not launch.restarts or config.resume:
        return config
    try:
        begun = read_sealed(folder / ORIGIN).get(_LAUNCH) == launch.name
    except (OSError, ValueError):
        begun = False
    if not begun:
        return config
    saved = (folder / CONFIG).exists() and any((folder / STATE).glob("step-*"))
    return replace(config, resume=saved, overwrite=not saved)


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_sealed(file)
    except (OSError, ValueError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> WeightsError:
    reason = error.strerror if isinstance(error, OSError) else error
    return WeightsError(
        f"the run cannot go on: {printable(file)} is damaged ({printable(reason)})",
        hint=f"bring it back as it was, start anew with --overwrite, or from its weights: --weights {file.parent}",
    )


def _found(train_set: Dataset, measured: Fingerprint, preprocess: Preprocess) -> dict[str, object]:
    return {
        "labels": train_set.labels.to_json(),
        "fingerprint": measured.to_json(),
        "preprocess": preprocess.to_json(),
    }
