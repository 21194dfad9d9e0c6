"""Batches in a fixed order, whatever prepares them, from any step on."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from everymask.core.processes.rank import ALONE, Rank
from everymask.core.randomness import rng
from everymask.data.feed.pipelines import Prepared
from everymask.errors import ConfigError, EverymaskError, MachineError, printable
from everymask.models.base import Batch, collate
from everymask.train.machine.failures import machine_failures
from everymask.train.machine.interrupt import ignore_in_worker
from everymask.train.slots import Letter, Parcel, Slots

Pipeline = Callable[[int, int], Prepared]
Handed: TypeAlias = Batch | Parcel | Letter | EverymaskError
"""What a process that prepares pictures hands over."""

_AHEAD = 2  # batches that each worker prepares before they are asked for
_PATIENCE = 600.0  # seconds in which a batch must be prepared
_LOOKS = 10  # how often in that time is asked, so that a machine that slept is not taken for a process that hangs
_SLOT = 2**28  # bytes for a batch; a larger one is handed over in a file of its own


@dataclass(frozen=True, slots=True)
class Order:
    """Which pictures belong to which batch: a pure function of the seed.

    Every epoch is a new permutation of `count` pictures. `passes` batches make one optimizer step; pictures that do not
    fill a step wait for another epoch. Of each batch, every process has its share by its `rank`.
    """

    count: int
    batch: int
    passes: int = 1
    seed: int = 0
    rank: Rank = ALONE

    def __post_init__(self) -> None:
        if self.batch % self.rank.count:
            raise ConfigError(
                f"a batch of {self.batch} pictures has no equal shares for {self.rank.count} processes",
                hint=f"make batch a multiple of {self.rank.count}",
            )
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
        """(epoch, index of the picture) for this process's share of batch `index` of optimizer step `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        share = self.batch // self.rank.count
        start = (position * self.passes + index) * self.batch + self.rank.index * share
        return [(epoch, picture) for picture in _permutation(self.seed, epoch, self.count)[start : start + share]]

    def draw(self, step: int, index: int) -> int:
        """The seed of what the network samples in batch `index` of optimizer step `step`: no process draws twice."""
        return int(rng(self.seed, step, self.rank.index * self.passes + index, "loss").integers(2**63))


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> list[int]:
    order: list[int] = rng(seed, epoch, "order").permutation(count).tolist()
    return order


def read_batches(
    pipeline: Pipeline,
    order: Order,
    *,
    first: int,
    last: int,
    workers: int = 0,
    divisor: int = 32,
    pin: bool = False,
    files: Sequence[object] = (),
    patience: float = _PATIENCE,
) -> Iterator[Batch]:
    """The batches of optimizer steps `first` to `last` (exclusive), `order.passes` for each.

    They are equal for every number of `workers`. Whatever `EverymaskError` a worker meets is raised here unchanged;
    `MachineError` when a worker dies, or gives no batch for `patience` seconds: it names the pictures by their `files`.
    """
    context = _context() if workers else None
    slots = _slots(workers) if context and context.get_start_method() == "fork" else None
    asked: deque[list[tuple[int, int]]] = deque()
    jobs = (order.pictures(step, index) for step in range(first, last) for index in range(order.passes))
    loader = DataLoader(
        _Batches(pipeline, divisor, slots),
        sampler=_Plan(jobs, slots, asked),
        batch_size=None,
        collate_fn=cast(Any, _unchanged),
        num_workers=workers,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=context,
        timeout=patience / _LOOKS if workers else 0,
    )
    with warnings.catch_warnings():
        # Workers only decode pictures and call numpy: no lock or thread of the parent is used after the fork.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        batches = iter(loader)
    return _delivered(_answered(batches, asked, files, patience), batches, slots, pin)


def _answered(
    batches: Iterator[Handed],
    asked: deque[list[tuple[int, int]]],
    files: Sequence[object],
    patience: float,
) -> Iterator[Handed]:
    """The batches as they come; `MachineError` names the pictures of one for which nobody answers."""
    looks = 0
    while True:
        try:
            found = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise
            looks += 1
            if looks < _LOOKS:
                continue
            processes = getattr(batches, "_workers", ())
            # All that it had to do: a stopped process may keep a batch that is ready.
            pictures = [index for batch in list(asked)[:: len(processes)] for _, index in batch]
            names = ", ".join(printable(files[index] if files else f"picture {index}") for index in pictures)
            for process in processes:
                with suppress(RuntimeError):  # torch's watch over its workers calls this a fault of its own
                    process.kill()  # one that is stopped hears nothing else
                    process.join()
            raise MachineError(
                f"a process that prepares pictures has not answered for {patience:g} s; it was to prepare {names}",
                hint="look whether these pictures can be read, and whether the process was stopped; then go on with "
                "--resume",
            ) from error
        looks = 0
        asked.popleft()
        yield found


def _delivered(answers: Iterator[Handed], batches: object, slots: Slots | None, pin: bool) -> Iterator[Batch]:
    with machine_failures():
        try:
            for found in answers:
                if isinstance(found, EverymaskError):
                    raise found
                # No name holds the batch while the next one is waited for: its memory is free when the user's is gone.
                yield _opened(found, slots, pin)
        finally:
            # Now, and not when the collector comes by: torch's watch over dead workers can interrupt any later line.
            getattr(batches, "_shutdown_workers", lambda: None)()


def _opened(found: Batch | Parcel | Letter, slots: Slots | None, pin: bool) -> Batch:
    match found:
        case Batch() as batch:
            pass
        case Letter():
            batch = found.opened()
        case Parcel():
            assert slots is not None
            batch = slots.unpack(found)
    return batch.pin_memory() if pin else batch


def _slots(workers: int) -> Slots | None:
    """A block for each batch that can be under way, one for that in use and one for that before it."""
    try:
        return Slots(_AHEAD * workers + 2, _SLOT)
    except OSError:  # the machine promises no more memory than it has
        return None


def _context() -> multiprocessing.context.BaseContext:
    # Fork, where it is sound, spares user scripts the `if __name__ == "__main__"` that other ways of starting demand.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def _start_worker(_: int) -> None:
    ignore_in_worker()
    # What was made before the fork is never collected here: looking through it would copy all of its memory.
    gc.freeze()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


@dataclass(frozen=True, slots=True)
class _Job:
    """The pictures (epoch, index) of one batch, and the block of memory to put it into."""

    pictures: list[tuple[int, int]]
    slot: int | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """The sampler, asked by the main process; torch wants an iterable that is not an iterator's type."""

    jobs: Iterator[list[tuple[int, int]]]
    slots: Slots | None
    asked: deque[list[tuple[int, int]]]

    def __iter__(self) -> Iterator[_Job]:
        for pictures in self.jobs:
            self.asked.append(pictures)
            yield _Job(pictures, self.slots.take() if self.slots else None)


class _Batches(Dataset["Handed"]):
    def __init__(self, pipeline: Pipeline, divisor: int, slots: Slots | None) -> None:
        self.pipeline = pipeline
        self.divisor = divisor
        self.slots = slots

    def __getitem__(self, job: _Job) -> Handed:
        # An error is handed over as a value: torch would rebuild it from its text and lose what it carries.
        try:
            prepared = [self.pipeline(*key) for key in job.pictures]
        except EverymaskError as error:
            return error
        if self.slots is None or job.slot is None:
            return Letter.of(collate(prepared, self.divisor))
        memory = self.slots.images(job.slot)
        batch = collate(prepared, self.divisor, memory)
        parcel = self.slots.pack(job.slot, batch) if batch.images.data_ptr() == memory.data_ptr() else None
        return parcel or Letter.of(batch)


def _unchanged(found: Handed) -> Handed:
    return found
