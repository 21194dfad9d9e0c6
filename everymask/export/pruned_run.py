"""`everymask prune`: a run without some of its channels, trained on until it is nearly as good."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from everymask.api import load_network
from everymask.backends.pytorch import build_predictor
from everymask.core.json.sealed import read_sealed
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, WeightsError, printable
from everymask.export.check import compare_metric
from everymask.export.pictures import choose_pictures, needed
from everymask.export.pruning import check_prunable, prune
from everymask.infer.predictor import Predictor
from everymask.infer.sources import Source
from everymask.metrics.comparison import Comparison
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.specs.any_spec import ModelSpec
from everymask.settings.config import TrainConfig, config_from_json
from everymask.train.folder.layout import BEST, CONFIG
from everymask.train.folder.progress import Run
from everymask.train.run import train

_SLOWER = 0.5
"""The learning rate, as a share of the run's own: the network knows nearly everything already."""
_EVERY_PICTURE = 1 << 30
_TIMED, _ROUNDS = 8, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneConfig:
    """What is pruned, and how it learns on.

    The run folder `source` loses about `ratio` of its channels and is trained on for `time_limit` as it was trained, on
    its own data or those at `data`; the new run lies in `out`. More than `max_loss` of the metric lost is refused.
    """

    source: str
    out: str
    ratio: float = 0.3
    time_limit: str = "10m"
    data: str | None = None
    max_loss: float = 0.01
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ConfigError(f"ratio is the share of channels that go, between 0 and 1, but got {self.ratio:g}")
        if not 0 <= self.max_loss <= 1:
            raise ConfigError(f"max-loss must lie between 0 and 1, but got {self.max_loss:g}")
        if not (Path(self.source) / CONFIG).is_file():
            raise ConfigError(
                f"a pruned network learns on as its run did, but {printable(self.source)} is no run folder",
                hint="name a folder that everymask train wrote",
            )
        if Path(self.out).resolve() == Path(self.source).resolve():
            raise ConfigError("the pruned run goes into a folder of its own", hint="choose another --out")


@dataclass(frozen=True, slots=True)
class PrunedRun:
    """The new run, how many parameters there were and are, which share of the time prediction takes, and the metric of
    both on the same pictures.
    """

    run: Run
    before: int
    after: int
    time: float
    compared: Comparison

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "out": str(self.run.folder),
            "parameters": {"before": self.before, "after": self.after},
            "time": self.time,
            "metric": self.compared.to_json(),
        }


def prune_run(config: PruneConfig, say: Callable[[str], None] = lambda _: None) -> PrunedRun | Run:
    """Prune, train on, and compare; a `Run` alone where the training was interrupted.

    `ConfigError` for networks that cannot be pruned, `DataError` without the run's pictures, `WeightsError` where more
    than `max_loss` is lost: the new run is there then all the same, and can learn on.
    """
    network, card = load_network(config.source)
    check_prunable(network)
    settings = config_from_json(read_sealed(Path(config.source) / CONFIG))
    data = None if config.data is None else Path(config.data)
    chosen = choose_pictures(config.source, card, data, None, _EVERY_PICTURE)
    judged = needed(chosen.check, "what pruning costs is measured on the pictures that validated the run")
    say("pruning")
    pruned = prune(network, config.ratio)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "pruned.safetensors"
        save_model(start, pruned.network, replace(card, spec=pruned.network.spec, metrics={}))
        run = train(_learning_on(settings, config, pruned.network.spec, start))
    if run.reason == "interrupted":
        return run
    say("comparing")
    before, after = (_exact(*load_model(Path(place) / BEST)) for place in (config.source, run.folder))
    compared = compare_metric(before, after, judged, say)
    found = PrunedRun(run, pruned.before, pruned.after, _share_of_time(config.source, run.folder, judged), compared)
    if not -compared.difference <= config.max_loss:
        raise WeightsError(
            f"the pruned network loses {-compared.difference:.4f} of {compared.name} ({compared.first:.4f} before, "
            f"{compared.second:.4f} after, 95 % interval of the difference {compared.low:.4f} to {compared.high:.4f}), "
            f"more than {config.max_loss:g}, for {found.time:.2f} of the time",
            hint=f"it is in {printable(run.folder)}; a smaller --ratio loses less, a longer --time-limit wins some",
        )
    return found


def _learning_on(settings: TrainConfig, config: PruneConfig, spec: ModelSpec, start: Path) -> TrainConfig:
    """How the pruned network is trained: as the run was, for less time and in smaller steps."""
    return replace(
        settings,
        data=config.data or settings.data,
        out=config.out,
        model=spec,
        weights=str(start),
        layers="all",
        lr=None if settings.lr is None else _SLOWER * settings.lr,
        epochs=None,
        time_limit=config.time_limit,
        save_every=None,
        patience=None,
        warmup_steps=None,
        validate_every=None,
        resume=False,
        overwrite=config.overwrite,
    )


def _exact(network: Any, card: Card) -> Predictor:
    return build_predictor(network, card, "cpu", precision="exact")


def _share_of_time(before: str, after: Path, pictures: Dataset) -> float:
    """How long the new network takes for a picture, as a share of the old one's time, the best of several rounds.

    On a processor it is that of this process, which others that want the cores do not make longer.
    """
    models = [build_predictor(*load_model(Path(place) / BEST)) for place in (before, after)]
    samples: list[Source] = [pictures[row] for row in range(min(_TIMED, len(pictures)))]
    clock = time.process_time if models[0].backend.device == "cpu" else time.perf_counter
    best = [float("inf")] * len(models)
    for _ in range(_ROUNDS):
        for place, model in enumerate(models):
            begun = clock()
            model.predict(samples)
            best[place] = min(best[place], clock() - begun)
    return best[1] / best[0]
