"""Where a training is entered: before torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from everymask.classical.named import METHODS
from everymask.core.json.sealed import read_sealed
from everymask.core.threads import require_torch
from everymask.train.folder.layout import CONFIG

if TYPE_CHECKING:
    from rich.console import Console

    from everymask.data.dataset import Dataset
    from everymask.settings.config import TrainConfig
    from everymask.train.folder.progress import Run


def train(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """Train a model and leave a run folder: settings, log, best weights, state, splits, report.

    A method without a network (`TrainConfig.method`) needs no torch, and learns in one go.

    `dataset` replaces reading `config.data`. Progress goes to `console` (default: stderr). The same configuration gives
    the same numbers on the same machine with the same number of threads.

    Raises `ConfigError`, `DataError`, `WeightsError` and `MachineError` before the first step where something cannot
    work (a picture whose data are cut off is met in the first epoch, unless `on_defect` is "skip"), `TrainingError`
    when the loss is no longer a number, and `MissingExtra` without torch.

    >>> run = train(TrainConfig(data="cells/", out="runs/cells", epochs=20))
    """
    if config.method is not None or (config.resume and _is_of_method(Path(config.out))):
        from everymask.train.methods.run import train_method

        return train_method(config, dataset=dataset, console=console)
    require_torch()
    from everymask.train.run import train as run

    return run(config, dataset=dataset, console=console)


def _is_of_method(folder: Path) -> bool:
    """Whether the run in a folder is one of a method without a network."""
    try:
        return read_sealed(folder / CONFIG)["model"]["kind"] in METHODS
    except (OSError, ValueError, KeyError, TypeError):
        return False  # which who goes on with it will say
