"""One picture, or many: read ahead, calculated in batches and decoded beside each other, given in their order."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from everymask.classical.bases import MethodSpec
from everymask.classical.splitting import split_map
from everymask.core.memory import room_for
from everymask.core.sample import Sample
from everymask.data.feed.batches import frame_of, stack, windows_of
from everymask.data.feed.pipelines import Prepared, prepare
from everymask.errors import DataError, UnusableHere
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.infer.joined import predict_tiled
from everymask.infer.result import Result
from everymask.infer.running import Running
from everymask.infer.sources import Source, as_sample
from everymask.infer.tiling import Tiling

SMALLER_TILES = "choose a smaller tile"
_MOST_PICTURES = 32
_MOST_HELPERS = 4
_GROUPS_AHEAD = 3
_BYTES_AHEAD = 1 << 28


def results_of(attempts: Generator[Result | DataError, None, None]) -> Iterator[Result]:
    """The results that attempts give, up to the first `DataError`, which is raised; they are closed at once then."""
    with closing(attempts):
        for outcome in attempts:
            if isinstance(outcome, DataError):
                raise outcome
            yield outcome


@dataclass(frozen=True, slots=True)
class _Read:
    """A picture as it was read and as the network takes it, and how many seconds the latter took."""

    sample: Sample
    prepared: Prepared
    seconds: float

    @property
    def name(self) -> str:
        return self.sample.file or self.sample.id

    @property
    def nbytes(self) -> int:
        return self.sample.image.nbytes + self.prepared.image.nbytes


def predict_one(predictor: Running, source: Source, tiling: Tiling | None, name: str = "picture") -> Result:
    """The result of one picture; `DataError` where there is none."""
    if tiling is not None:
        sample, started = as_sample(source, name), time.perf_counter()
        with room_for(sample.file or sample.id, SMALLER_TILES):
            found, cut_below = predict_tiled(predictor, sample, tiling)
        return Result(sample, found, predictor.labels, time.perf_counter() - started, cut_below)
    read = _read(predictor, source, name)
    with room_for(read.name, smaller(predictor)):
        answer = _calculated(predictor, [read])
    return _decoded(predictor, answer, 0, read)


def smaller(predictor: Running) -> str:
    """What to do with a picture for which there is not enough memory."""
    if isinstance(predictor.card.spec, MethodSpec):
        return "make the picture smaller"
    if "tile" in predictor.task.options:
        return "predict it by windows (everymask predict --tile 1024, Tiling in Python), or make the picture smaller"
    return "make the picture smaller"


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
    try:
        sample, started = as_sample(source, name), time.perf_counter()
    except UnusableHere as error:
        if isinstance(error.__cause__, MemoryError):
            error.hint = smaller(predictor)
        raise
    with room_for(sample.file or sample.id, smaller(predictor)):
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
    scored = predictor.scored or predictor.splitting is not None
    wanted = Wanted(placements, predictor.card.labels.ignore, scored, predictor.duplicate_iou)
    images = stack(prepared, predictor.card.preprocess.divisor)
    outputs = predictor.outputs(images, windows_of(prepared), wanted)
    return _Answer(outputs, wanted, (time.perf_counter() - started) / len(group))


def _decoded(predictor: Running, answer: _Answer, index: int, read: _Read) -> Result:
    started = time.perf_counter()
    with room_for(read.name, smaller(predictor)):
        found = answer.outputs.segmentation(index, answer.wanted)
        cut_below = answer.outputs.cut_below(index)
        if predictor.splitting is not None:
            found, cut_below = split_map(found, predictor.card.labels, predictor.splitting)
    seconds = answer.seconds + read.seconds + time.perf_counter() - started
    return Result(read.sample, found, predictor.labels, seconds, cut_below)


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
            assert self.group is not None
            return self.group.result()[self.place].result()
        except DataError as error:
            return error


class _Line:
    """Pictures on their way: helpers read and decode them, one thread runs the network, or one in each of the backend's
    lanes does where batches are small, and the caller's thread decides.

    Which pictures share a batch follows from their order and sizes alone, not from how fast anything was.
    """

    def __init__(self, predictor: Running, sources: Iterable[Source], batch: int | None) -> None:
        self._predictor, self._batch = predictor, batch
        self._sources = enumerate(sources, start=1)
        self._failure: Exception | None = None
        self._helpers = ThreadPoolExecutor(min(_MOST_HELPERS, os.cpu_count() or 1))
        self._network = ThreadPoolExecutor(1)
        self._lanes: Executor | None = None
        self._ahead = 2 * (batch or _MOST_HELPERS)
        self._ungrouped: deque[_Job] = deque()
        self._jobs: deque[_Job] = deque()

    def outcomes(self) -> Iterator[Result | DataError]:
        """In the order of the sources; what their iterator raises comes behind all before it."""
        while True:
            self._read_ahead()
            ahead = max(_GROUPS_AHEAD, self._predictor.backend.lanes + 1)
            while self._ungrouped and len({job.group for job in self._jobs if job.group}) < ahead:
                self._form_group()
            if not self._jobs:
                break
            yield self._jobs.popleft().outcome()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Begin nothing more; waits for what is being done."""
        for pool in (self._network, self._lanes):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
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
        backend, first, divisor = self._predictor.backend, job.read.result(), self._predictor.card.preprocess.divisor
        frame = frame_of(first.prepared, divisor)
        fitting = backend.most_pixels // (frame[0] * frame[1])
        # The lanes together hold no more than one batch would, so large pictures do not use them.
        small = 1 < backend.lanes <= fitting
        most = self._batch or max(1, min(_MOST_PICTURES, fitting // backend.lanes if small else fitting))
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
        calculated = self._threads(small=small).submit(self._calculate, [each.read.result() for each in group])
        for place, each in enumerate(group):
            each.group, each.place = calculated, place

    def _threads(self, *, small: bool) -> Executor:
        """Those that calculate batches, small ones in lanes."""
        if not small:
            return self._network
        if self._lanes is None:
            self._lanes = self._predictor.backend.open_lanes()
        return self._lanes

    def _calculate(self, group: list[_Read]) -> list[Future[Result]]:
        """Pictures that are too many at once are halved, so that only one that is too much by itself fails."""
        try:
            with room_for(group[0].name, smaller(self._predictor)):
                answer = _calculated(self._predictor, group)
        except UnusableHere as error:
            if len(group) == 1:
                failed: Future[Result] = Future()
                failed.set_exception(error)
                return [failed]
        else:
            return [
                self._helpers.submit(_decoded, self._predictor, answer, index, read) for index, read in enumerate(group)
            ]
        half = len(group) // 2
        return self._calculate(group[:half]) + self._calculate(group[half:])
