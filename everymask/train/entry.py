"""Where a training is entered: before torch is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from everymask.core.threads import require_torch

if TYPE_CHECKING:
    from rich.console import Console

    from everymask.data.dataset import Dataset
    from everymask.settings.config import TrainConfig
    from everymask.train.run import Run


def train(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """Train a model and leave a run folder: settings, log, best weights, state, splits, report.

    `dataset` replaces reading `config.data`. Progress goes to `console` (default: stderr). The same configuration gives
    the same numbers on the same machine with the same number of threads.

    Raises `ConfigError`, `DataError`, `WeightsError` and `MachineError` before the first step where something cannot
    work (a picture whose data are cut off is met in the first epoch, unless `on_defect` is "skip"), `TrainingError`
    when the loss is no longer a number, and `MissingExtra` without torch.

    >>> run = train(TrainConfig(data="cells/", out="runs/cells", epochs=20))
    """
    require_torch()
    from everymask.train.run import train as run

    return run(config, dataset=dataset, console=console)
