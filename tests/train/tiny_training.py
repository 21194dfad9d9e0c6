"""A data set and a network so small that a step takes a millisecond."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from everymask.core.processes.rank import ALONE, Rank
from everymask.core.randomness import rng
from everymask.data.feed.pipelines import Prepared
from everymask.data.feed.preprocess import Placement, Preprocess
from everymask.data.fingerprint import Fingerprint
from everymask.models.base import Batch, Network
from everymask.models.specs.regions import FasterRCNN
from everymask.settings.config import TrainConfig
from everymask.settings.plan import Plan, plan_of
from everymask.tasks.table import task_of
from everymask.train.folder.logs import Log
from everymask.train.loader import Order, read_batches
from everymask.train.loop import Outcome, fit

CPU = torch.device("cpu")


class Tiny(Network):
    """A stem, a batch norm, a dropout drawn from the generator, and two losses; parts are named like a detector's."""

    encoder_prefix = "backbone.body."

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Module()
        self.backbone.body = nn.Module()
        self.backbone.body.stages = (("conv1", "bn1"), (), ("layer2",), ())
        self.backbone.body.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.backbone.body.bn1 = nn.BatchNorm2d(4)
        self.backbone.body.layer2 = nn.Conv2d(4, 4, 3, padding=1)
        self.backbone.body.layer4 = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 1)

    def forward(self, images: Tensor) -> Tensor:
        body = self.backbone.body
        maps = body.layer4(body.layer2(body.bn1(body.conv1(images)).relu()).relu())
        return self.head(maps.mean(dim=(2, 3)))

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        keep = (torch.rand(batch.images.shape, generator=generator) > 0.2).to(batch.images)
        found = self(batch.images * keep)[:, 0]
        wanted = batch.images.mean(dim=(1, 2, 3))
        return {"loss_mean": (found - wanted).square().mean(), "loss_size": 0.01 * found.square().mean()}


def picture(epoch: int, index: int, bad: int | None = None) -> Prepared:
    """Noise around a level of its own; picture `bad` holds a NaN."""
    image = rng(epoch, index, "tiny").normal(index / 10, 1, (1, 8, 8)).astype(np.float32)
    if index == bad:
        image[0, 0, 0] = np.nan
    return Prepared(image, None, Placement((8, 8), (8, 8)), id=f"picture-{index}", file=f"pictures/{index}.png")


def settings(out: Path, **changes: object) -> TrainConfig:
    """A complete configuration: nothing is left to recipes."""
    values: dict[str, object] = {
        "data": "tiny",
        "out": str(out),
        "epochs": 4,
        "batch": 3,
        "lr": 0.05,
        "head_lr": 1.0,
        "weight_decay": 1e-3,
        "warmup_steps": 3,
        "workers": 0,
        "validate_every": 1,
        "precision": "fp32",
        "ema": 0.9,
        "model": FasterRCNN(),  # which only a plan asks for: what is trained is `Tiny`
        "max_detections": 1,
        "optimizer": "sgd",
        "size": 32,
    }
    return TrainConfig(**(values | changes))


def planned(config: TrainConfig) -> Plan:
    """The plan of a complete configuration."""
    statistics = {"channels": 1, "dtype": "uint8", "scale": 255.0, "mean": (0.0,), "std": (1.0,)}
    measured = Fingerprint(10, 10, 8.0, 8.0, object_sizes=(), max_objects=0, **statistics)  # type: ignore[arg-type]
    return plan_of(config, task_of(config.model).settings, measured, Preprocess())


def train_tiny(
    config: TrainConfig,
    *,
    count: int = 10,
    bad: int | None = None,
    module: nn.Module | None = None,
    rank: Rank = ALONE,
    **rest: object,
) -> Outcome:
    """Run the loop over `count` tiny pictures."""
    folder, plan = Path(config.out), planned(config)
    folder.mkdir(parents=True, exist_ok=True)
    order = Order(count, plan.batch, plan.accumulate, plan.seed, rank)
    pipeline = functools.partial(picture, bad=bad)

    def batches(first: int, last: int):
        return read_batches(pipeline, order, first=first, last=last, workers=plan.workers, divisor=8)

    with Log(folder, Console(quiet=True), rank=rank, tensorboard=False) as log:
        return fit(module or Tiny(), order, batches, plan, folder=folder, device=CPU, log=log, **rest)  # type: ignore[arg-type]
