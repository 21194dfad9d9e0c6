"""Batches in a fixed order, whatever prepares them, from any step on."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from everymask.core.randomness import rng
from everymask.data.pipelines import Prepared
from everymask.errors import ConfigError, EverymaskError
from everymask.models.base import Batch, collate
from everymask.train.failures import machine_failures
from everymask.train.interrupt import ignore_in_worker

Pipeline = Callable[[int, int], Prepared]


@dataclass(frozen=True, slots=True)
class Order:
    """Which pictures belong to which batch: a pure function of the seed.

    Every epoch is a new permutation of `count` pictures. `passes` batches make one optimizer step; pictures that do not
    fill a step wait for another epoch.
    """

    count: int
    batch: int
    passes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.steps_per_epoch:
            raise ConfigError(
                f"{self.count} training pictures do not fill one step of {self.batch * self.passes}",
                hint=f"lower batch (now {self.batch}) or accumulate (now {self.passes})",
            )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return self.count // (self.batch * self.passes)

    def pictures(self, step: int, index: int = 0) -> list[tuple[int, int]]:
        """(epoch, index of the picture) for batch `index` of optimizer step `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = (position * self.passes + index) * self.batch
        return [(epoch, picture) for picture in _permutation(self.seed, epoch, self.count)[start : start + self.batch]]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> list[int]:
    order: list[int] = rng(seed, epoch, "order").permutation(count).tolist()
    return order


def read_batches(
    pipeline: Pipeline, order: Order, *, first: int, last: int, workers: int = 0, divisor: int = 32, pin: bool = False
) -> Iterator[Batch]:
    """The batches of optimizer steps `first` to `last` (exclusive), `order.passes` for each.

    They are equal for every number of `workers`. Whatever `EverymaskError` a worker meets is raised here unchanged;
    `MachineError` when a worker dies.
    """
    plan = (order.pictures(step, index) for step in range(first, last) for index in range(order.passes))
    loader = DataLoader(
        _Pictures(pipeline),
        batch_sampler=_Plan(plan),
        collate_fn=partial(_collate, divisor=divisor),
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=_context() if workers else None,
    )
    with warnings.catch_warnings():
        # Workers only decode pictures and call numpy: no lock or thread of the parent is used after the fork.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        batches = iter(loader)
    return _delivered(batches)


def _delivered(batches: Iterator[Batch | EverymaskError]) -> Iterator[Batch]:
    with machine_failures():
        try:
            for batch in batches:
                if isinstance(batch, EverymaskError):
                    raise batch
                yield batch
        finally:
            # Now, and not when the collector comes by: torch's watch over dead workers can interrupt any later line.
            getattr(batches, "_shutdown_workers", lambda: None)()


def _context() -> multiprocessing.context.BaseContext:
    # Fork, where it is sound, spares user scripts the `if __name__ == "__main__"` that other ways of starting demand.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _start_worker(_: int) -> None:
    ignore_in_worker()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _collate(pictures: list[Prepared | EverymaskError], divisor: int) -> Batch | EverymaskError:
    prepared: list[Prepared] = []
    for picture in pictures:
        if isinstance(picture, EverymaskError):
            return picture
        prepared.append(picture)
    return collate(prepared, divisor)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The batch sampler; torch asks for an iterable that is not an iterator's type."""

    batches: Iterator[list[tuple[int, int]]]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.batches


class _Pictures(Dataset["Prepared | EverymaskError"]):
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __getitem__(self, key: tuple[int, int]) -> Prepared | EverymaskError:
        # An error is handed over as a value: torch would rebuild it from its text and lose what it carries.
        try:
            return self.pipeline(*key)
        except EverymaskError as error:
            return error
