"""One picture, or many: read ahead, calculated in batches and decoded beside each other, given in their order."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from everymask.core.sample import Sample
from everymask.data.feed.batches import frame_of, stack, windows_of
from everymask.data.feed.pipelines import Prepared, prepare
from everymask.errors import DataError
from everymask.infer.backends.outputs import Outputs, Wanted
from everymask.infer.result import Result
from everymask.infer.running import Running
from everymask.infer.sources import Source, as_sample
from everymask.infer.tiling import Tiling, predict_tiled

_MOST_PICTURES = 32
_MOST_HELPERS = 4
_GROUPS_AHEAD = 3
_BYTES_AHEAD = 1 << 28


@dataclass(frozen=True, slots=True)
class _Read:
    """A picture as it was read and as the network takes it, and how many seconds the latter took."""

    sample: Sample
    prepared: Prepared
    seconds: float

    @property
    def nbytes(self) -> int:
        return self.sample.image.nbytes + self.prepared.image.nbytes


def predict_one(predictor: Running, source: Source, tiling: Tiling | None, name: str = "picture") -> Result:
    """The result of one picture; `DataError` where there is none."""
    if tiling is not None:
        sample, started = as_sample(source, name), time.perf_counter()
        found = predict_tiled(predictor, sample, tiling)
        return Result(sample, found, predictor.card.labels, time.perf_counter() - started)
    read = _read(predictor, source, name)
    return _decoded(predictor, _calculated(predictor, [read]), 0, read)


def predict_many(
    predictor: Running, sources: Iterable[Source], batch: int | None, tiling: Tiling | None
) -> Generator[Result | DataError, None, None]:
    """For each picture, in their order, its result or why there is none; see `Predictor.attempts`."""
    if tiling is not None:
        for place, source in enumerate(sources, start=1):
            try:
                yield predict_one(predictor, source, tiling, f"picture-{place}")
            except DataError as error:
                yield error
        return
    line = _Line(predictor, sources, batch)
    try:
        yield from line.outcomes()
    finally:
        line.stop()


def _read(predictor: Running, source: Source, name: str) -> _Read:
    sample, started = as_sample(source, name), time.perf_counter()
    prepared = prepare(replace(sample, truth=None), predictor.card.preprocess)
    return _Read(sample, prepared, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the network says of pictures, what it was asked for, and how many seconds that took for each."""

    outputs: Outputs
    wanted: Wanted
    seconds: float


def _calculated(predictor: Running, group: list[_Read]) -> _Answer:
    started, prepared = time.perf_counter(), [read.prepared for read in group]
    placements = tuple(picture.placement for picture in prepared)
    wanted = Wanted(placements, predictor.card.labels.ignore, predictor.scored, predictor.duplicate_iou)
    images = stack(prepared, predictor.card.preprocess.divisor)
    outputs = predictor.outputs(images, windows_of(prepared), wanted)
    return _Answer(outputs, wanted, (time.perf_counter() - started) / len(group))


def _decoded(predictor: Running, answer: _Answer, index: int, read: _Read) -> Result:
    started = time.perf_counter()
    found = answer.outputs.segmentation(index, answer.wanted)
    seconds = answer.seconds + read.seconds + time.perf_counter() - started
    return Result(read.sample, found, predictor.card.labels, seconds, answer.outputs.cut_below(index))


@dataclass(eq=False, slots=True)
class _Job:
    """A picture that is read; once it is in a group, what becomes of that, and the picture's place there."""

    read: Future[_Read]
    group: Future[list[Future[Result]]] | None = None
    place: int = 0

    def outcome(self) -> Result | DataError:
        """Waits for it."""
        try:
            self.read.result()
        except DataError as error:
            return error
        assert self.group is not None
        return self.group.result()[self.place].result()


class _Line:
    """Pictures on their way: helpers read and decode them, one thread runs the network, the caller's thread decides.

    Which pictures share a batch follows from their order and sizes alone, not from how fast anything was.
    """

    def __init__(self, predictor: Running, sources: Iterable[Source], batch: int | None) -> None:
        self._predictor, self._batch = predictor, batch
        self._sources = enumerate(sources, start=1)
        self._failure: Exception | None = None
        self._helpers = ThreadPoolExecutor(min(_MOST_HELPERS, os.cpu_count() or 1))
        self._network = ThreadPoolExecutor(1)
        self._ahead = 2 * (batch or _MOST_HELPERS)
        self._ungrouped: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()

    def outcomes(self) -> Iterator[Result | DataError]:
        """In the order of the sources; what their iterator raises comes behind all before it."""
        while True:
            self._read_ahead()
            while self._ungrouped and len({job.group for job in self._jobs if job.group}) < _GROUPS_AHEAD:
                self._form_group()
            if not self._jobs:
                break
            yield self._jobs.popleft().outcome()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Begin nothing more; waits for what is being done."""
        self._network.shutdown(cancel_futures=True)
        self._helpers.shutdown(cancel_futures=True)

    def _read_ahead(self) -> None:
        done = [job.read for job in self._ungrouped if job.read.done() and job.read.exception() is None]
        held = sum(read.result().nbytes for read in done)
        while len(self._ungrouped) < self._ahead and held < _BYTES_AHEAD and self._ask():
            pass

    def _ask(self) -> bool:
        """Have the next picture read; False where there is none."""
        try:
            place, source = next(self._sources)
        except StopIteration:
            return False
        except Exception as error:  # whatever it is, the pictures before it are given first
            self._failure, self._sources = error, enumerate(())
            return False
        job = _Job(self._helpers.submit(_read, self._predictor, source, f"picture-{place}"))
        self._ungrouped.append(job)
        self._jobs.append(job)
        return True

    def _form_group(self) -> None:
        """Calculate the first picture with those of the next ones that have its size in the network."""
        job = self._ungrouped.popleft()
        if job.read.exception() is not None:
            return
        first, divisor = job.read.result(), self._predictor.card.preprocess.divisor
        frame = frame_of(first.prepared, divisor)
        fitting = min(_MOST_PICTURES, self._predictor.backend.most_pixels // (frame[0] * frame[1]))
        most = self._batch or max(1, fitting)
        self._ahead = 2 * most
        group, held = [job], first.nbytes
        for place in range(self._ahead):
            if len(group) == most or held >= _BYTES_AHEAD or (place == len(self._ungrouped) and not self._ask()):
                break
            other = self._ungrouped[place]
            if other.read.exception() is None:
                held += other.read.result().nbytes
                if frame_of(other.read.result().prepared, divisor) == frame:
                    group.append(other)
        self._ungrouped = deque(other for other in self._ungrouped if other not in group)
        calculated = self._network.submit(self._calculate, [each.read.result() for each in group])
        for place, each in enumerate(group):
            each.group, each.place = calculated, place

    def _calculate(self, group: list[_Read]) -> list[Future[Result]]:
        answer = _calculated(self._predictor, group)
        return [
            self._helpers.submit(_decoded, self._predictor, answer, index, read) for index, read in enumerate(group)
        ]
