"""Shards predicted by processes of this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from everymask.engines.shard_work import Job, predict_shard
from everymask.errors import EverymaskError, MachineError, counted

_MOST_STARTS = 3
_MOST_DEATHS = 30
_PATIENCE = 5.0
# Windows has no processes that are copies.
_BEGUN_BY = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"

_log = logging.getLogger(__name__)


def prepare(modules: Sequence[str]) -> None:
    """Begin the process of which workers are copies; it imports `modules` while this one does something else.

    So a worker is there, and replaced, in a moment, and no thread of this process is copied.
    """
    if _BEGUN_BY == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def run_locally(job: Job, shards: Sequence[int], workers: int) -> Iterator[tuple[int, int]]:
    """Predict shards, one at a time by each of the `workers`; gives how many pictures more are done, and have failed.

    A worker that dies is replaced, and its shard goes on behind what is done; the numbers are then taken back to what
    they were before it. The first `EverymaskError` in a worker ends all. `MachineError` where workers die before their
    model is loaded, or thirty times without a picture done.
    """
    crew = _Crew(job, deque(shards))
    try:
        for _ in range(min(workers, len(shards))):
            crew.hire()
        while crew.workers:
            yield from crew.listen()
    finally:
        crew.dismiss()


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: connection.Connection
    number: int
    shard: int | None = None
    ready: bool = False
    done: int = 0
    failed: int = 0


class _Crew:
    """The workers of a prediction, and the shards that none of them has."""

    def __init__(self, job: Job, shards: deque[int]) -> None:
        self.workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
        self._job, self._shards = job, shards
        self._context: Any = multiprocessing.get_context(_BEGUN_BY)
        self._starts = self._deaths = 0

    def hire(self, number: int | None = None) -> None:
        """One more worker, who gets the next shard."""
        ours, theirs = self._context.Pipe()
        number = len(self.workers) if number is None else number
        process = self._context.Process(target=_work, args=(self._job, number, theirs), daemon=True)
        process.start()
        theirs.close()  # so that a worker's death closes the pipe
        worker = _Worker(process, ours, number)
        self.workers.append(worker)
        self._give(worker)

    def listen(self) -> Iterator[tuple[int, int]]:
        """Wait until workers say something, or die, and see to it."""
        pipes = {worker.pipe: worker for worker in self.workers}
        for pipe in connection.wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._replace(worker)
                continue
            if isinstance(said, EverymaskError):
                raise said
            if said is None:
                worker.ready, self._starts = True, 0
            elif said == ():
                self._give(worker)
            else:
                self._deaths = 0
                worker.done, worker.failed = worker.done + said[0], worker.failed + said[1]
                yield said

    def dismiss(self) -> None:
        """End the workers that are there, and wait for those that end by themselves."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in (*self.workers, *self._leaving):
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self.workers, self._leaving = [], []

    def _give(self, worker: _Worker) -> None:
        """The next shard; a worker for whom there is none goes home."""
        worker.shard = self._shards.popleft() if self._shards else None
        worker.done = worker.failed = 0
        try:
            worker.pipe.send(worker.shard)
        except OSError:
            return  # dead: `listen` sees it next
        if worker.shard is None:
            self.workers.remove(worker)
            self._leaving.append(worker)

    def _replace(self, worker: _Worker) -> Iterator[tuple[int, int]]:
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)
        self._starts += not worker.ready
        self._deaths += 1
        how = _ending(worker.process.exitcode)
        if self._starts >= _MOST_STARTS or self._deaths >= _MOST_DEATHS:
            when = "before its model was loaded" if self._starts >= _MOST_STARTS else "without one picture done"
            times = self._starts if self._starts >= _MOST_STARTS else self._deaths
            raise MachineError(
                f"a worker process ended {counted(times, 'time')} {when}, the last {how}",
                hint="if the memory is full, use fewer --workers; what is done stays, and --resume goes on",
            )
        if worker.shard is not None:
            _log.warning("a worker process ended %s; another goes on with its pictures", how)
            yield -worker.done, -worker.failed
            self._shards.appendleft(worker.shard)
            self.hire(worker.number)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by signal {-code}" + (" (SIGKILL, as when the memory is full)" if code == -9 else "")
    return f"with exit code {code}"


def _work(job: Job, number: int, pipe: Any) -> None:
    """A worker: says None when it has its model, (done, failed) as it goes, () behind each shard, or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first sees to the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        model = job.load(number)
        pipe.send(None)
        while (shard := pipe.recv()) is not None:
            for done in predict_shard(job, model, shard):
                pipe.send(done)
            pipe.send(())
    except EverymaskError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):
        pass  # nobody is left to work for


def _end_with_parent() -> None:
    """Whatever ends the process that has the shards ends its workers, so that none works beside those of the next."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
