"""Options of predictions in shards, and what a worker needs to load its model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from everymask.commands.options import Running, load_predictor
from everymask.core.machine.cores import usable_cores
from everymask.errors import ConfigError, WeightsError, printable
from everymask.runtimes.bundle import is_bundle
from everymask.train.folder.layout import BEST

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor

_NEEDED = ("everymask.backends.pytorch", "everymask.models.checkpoint", "everymask.commands.batch.shards")
_NEEDED_BY_BUNDLES = ("everymask.runtimes.loading", "everymask.commands.batch.shards")
"""What takes a worker long to import."""


# As Running: Python cannot derive a class from two that have slots.
@dataclass(frozen=True, kw_only=True)
class Sharding(Running):
    """How a trained model is run on very many pictures."""

    engine: Literal["local", "ray"] | None = None
    """For up to millions of pictures: predict in shards, by processes of this machine (local), or by Ray on one machine
    or many. What is written are tables, one for each shard (docs/batch.md)."""
    workers: int | None = None
    """With --engine: how many processes predict at once; otherwise one for each GPU, or one for each processor core."""
    address: str | None = None
    """With --engine ray: the address of a cluster, or auto for the one of this machine; otherwise Ray is started."""
    table: Literal["parquet", "coco"] = "parquet"
    """With --engine: how tables are stored."""
    pngs: bool = False
    """With --engine: also write a PNG for each picture, of its objects' numbers or its classes."""
    shard_size: int = 1000
    """With --engine: how many pictures share a table."""


def check_sharding(options: Sharding) -> None:
    """`ConfigError` for options that mean nothing together."""
    usual = Sharding()
    alone = [name for name in ("workers", "address", "table", "pngs", "shard_size") if _differs(options, usual, name)]
    if options.engine is None and alone:
        raise ConfigError(
            f"{alone[0].replace('_', '-')} is for predictions in shards", hint="add --engine local, or --engine ray"
        )
    if options.engine != "ray" and options.address is not None:
        raise ConfigError("address is that of a cluster of Ray", hint="add --engine ray")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"workers must be at least 1, but got {options.workers}")


def _differs(options: Sharding, usual: Sharding, name: str) -> bool:
    return bool(getattr(options, name) != getattr(usual, name))


@dataclass(frozen=True, slots=True)
class Loading:
    """The model as `predict` uses it; called with a worker's number it gives the one for its GPU and processor cores.

    `weights` are the digest of its file, with which every worker's must agree; empty: not known yet.
    """

    model: str
    running: Running
    max_detections: int | None = None
    duplicate_iou: float | None = None
    workers: int = 1
    weights: str = ""

    def run_by(self, running: Running) -> Loading:
        """The same model, run as these options say."""
        return replace(self, running=running)

    def prepare(self) -> None:
        """Have what the model needs imported for workers of this machine, while this process imports it too."""
        from everymask.core.threads import choose_waiting
        from everymask.engines.local import prepare

        choose_waiting()  # the variables that it sets are for workers too
        graph = is_bundle(self.model) or self.running.runtime not in ("auto", "torch")
        prepare(_NEEDED_BY_BUNDLES if graph else _NEEDED)

    def load(self) -> Predictor:
        """The model in this process."""
        return self._limited(load_predictor(self.model, self.running))

    def check(self) -> None:
        """`WeightsError` where the model's file is another than at the beginning."""
        if weights_of(self.model) != self.weights:
            raise WeightsError(
                f"{printable(self.model)} is another model than when this prediction began",
                hint="bring it back, or predict into another folder",
            )

    def __call__(self, number: int) -> Predictor:
        """The model of a worker; `WeightsError` where its file is another than at the beginning."""
        self.check()
        from everymask.api import needs_torch
        from everymask.core.threads import require_torch

        threads = max(1, len(usable_cores()) // self.workers)
        if not needs_torch(self.model) or self.running.runtime not in ("auto", "torch"):
            return self._limited(load_predictor(self.model, self.running, threads))
        require_torch()
        import torch

        torch.set_num_threads(threads)
        gpus = torch.cuda.device_count() if self.running.device == "auto" else 0
        running = replace(self.running, device=f"cuda:{number % gpus}") if gpus > 1 else self.running
        return self._limited(load_predictor(self.model, running))

    def _limited(self, model: Predictor) -> Predictor:
        if self.max_detections is not None:
            model = model.with_detections(self.max_detections)
        return model.without_duplicates(self.duplicate_iou)


def weights_of(model: str) -> str:
    """The digest of a model's file; for one that has a name in the catalogue, whose file is checked, its name."""
    import hashlib

    path = Path(model)
    file = path / BEST if path.is_dir() else path
    if not file.is_file():
        return model
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]
