"""What a run was given and decided, in its folder: `config.json`, `origin.json` and `splits.json`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from everymask.core.files import write_json
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.data.splits import write_split
from everymask.errors import DataError
from everymask.settings.config import TrainConfig, config_from_json
from everymask.settings.going_on import continued
from everymask.settings.plan import Plan
from everymask.train.folder.layout import CONFIG, ORIGIN, SPLITS


def write_given(
    folder: Path, given: TrainConfig, plan: Plan, pictures: Dataset, train_set: Dataset, measured: Fingerprint
) -> None:
    """Write what was `given` and what was found in the data, to be compared on resuming; then what was decided."""
    write_split(folder / SPLITS, pictures)
    found = _found(train_set, measured, plan.preprocess)
    write_json(folder / ORIGIN, {"settings": given.to_json()} | found, indent=1)
    write_decided(folder, plan)


def write_decided(folder: Path, plan: Plan) -> None:
    """Write the complete settings."""
    write_json(folder / CONFIG, replace(plan.settings, resume=False, overwrite=False).to_json(), indent=1)


def read_decided(folder: Path, given: TrainConfig) -> tuple[TrainConfig, tuple[str, ...]]:
    """The complete settings with which the run goes on, and a line if it becomes longer; errors as in `continued`."""
    stored, origin = (json.loads((folder / name).read_bytes()) for name in (CONFIG, ORIGIN))
    before = config_from_json(stored)
    config = continued(before, config_from_json(origin["settings"]), given)
    if config.epochs == before.epochs:
        return config, ()
    return config, (f"{config.epochs} epochs instead of {before.epochs}: the learning rate follows the new end",)


def read_preprocess(folder: Path, train_set: Dataset, measured: Fingerprint) -> Preprocess:
    """How pictures are fed since the run began; `DataError` when the data are no longer the same."""
    stored = json.loads((folder / ORIGIN).read_bytes())
    preprocess = Preprocess.from_json(stored["preprocess"])
    found = json.loads(json.dumps(_found(train_set, measured, preprocess)))
    changed = [name for name, value in found.items() if stored.get(name) != value]
    if changed:
        raise DataError(
            f"the data are not those that this run began with: {' and '.join(changed)} changed",
            hint=f"bring them back as they were, or start a new run with --weights {folder}",
        )
    return preprocess


def _found(train_set: Dataset, measured: Fingerprint, preprocess: Preprocess) -> dict[str, object]:
    return {
        "labels": train_set.labels.to_json(),
        "fingerprint": measured.to_json(),
        "preprocess": preprocess.to_json(),
    }
