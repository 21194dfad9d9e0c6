"""Shards predicted by a pool of actors of Ray Data, on one machine or on many."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from everymask import errors
from everymask.engines.shard_work import Job, predict_shard
from everymask.errors import EverymaskError, MachineError, printable, require

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor

_OBJECT_STORE = 200_000_000
"""Bytes: what workers exchange are numbers of shards."""
_KINDS = ("shard", "pictures", "failed", "error")


@contextmanager
def cluster(
    address: str | None,
) -> Iterator[tuple[Callable[[Job, Sequence[int], int], Iterator[tuple[int, int]]], int]]:
    """Within, there is Ray: that at `address`, or one that is started here; gives the engine, and for how many workers
    the cluster has room: one for each GPU, or one for each processor core.

    `MissingExtra` where Ray is not installed, `MachineError` where it cannot be reached.
    """
    ray = require("ray", "ray")
    require("ray.data", "ray")
    if ray.is_initialized():
        yield _engine(ray), _places(ray)
        return
    here = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
    except Exception as error:  # whatever Ray says
        raise MachineError(
            f"Ray cannot be {'reached at ' + printable(address) if address else 'started'}: {printable(error)}"
        ) from error
    try:
        yield _engine(ray), _places(ray)
    finally:
        ray.shutdown()


def _places(ray: Any) -> int:
    found = ray.cluster_resources()
    return max(1, int(found.get("GPU", 0)) or int(found.get("CPU", 1)))


def _engine(ray: Any) -> Callable[[Job, Sequence[int], int], Iterator[tuple[int, int]]]:
    """As `everymask.engines.local.run_locally`, but what is done is told shard by shard.

    Ray starts a worker that died anew, and gives its shard to another, as often as it takes; that no picture is tried
    for ever, shards see to. `EverymaskError`s come as rows, because Ray would repeat what is raised or wrap it.
    """

    def run(job: Job, shards: Sequence[int], workers: int) -> Iterator[tuple[int, int]]:
        if not shards:
            return
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        gpus = ray.cluster_resources().get("GPU", 0)
        most = min(workers, len(shards))
        pool = ray.data.ActorPoolStrategy(
            min_size=min(most, _places(ray)), max_size=most, max_tasks_in_flight_per_actor=1
        )
        rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        done = rows.map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=pool,
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else 0,
        )
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise _raised(row["error"])
                yield int(row["pictures"]), int(row["failed"])
        except ray.exceptions.RayError as error:
            raise MachineError(
                f"Ray gave up: {printable(error, 400)}", hint="what is done stays, and --resume goes on"
            ) from error

    return run


class _Actor:
    """A worker: it loads the model with the first shard that it is given."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._model: Predictor | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Predict the shards of a batch: a row for each, with how many pictures it has and how many of these failed."""
        rows = [self._row(int(shard)) for shard in batch["shard"]]
        return {name: [row[place] for row in rows] for place, name in enumerate(_KINDS)}

    def _row(self, shard: int) -> tuple[int, int, int, str]:
        pictures = failures = 0

        try:
            self._model = self._model or self._job.load(0)
            for done, failed in predict_shard(self._job, self._model, shard):
                pictures, failures = pictures + done, failures + failed
        except EverymaskError as error:
            return shard, pictures, failures, json.dumps([type(error).__name__, error.message, error.hint])
        return shard, pictures, failures, ""


def _raised(said: str) -> EverymaskError:
    """The error that `_Actor` has put into a row."""
    name, message, hint = json.loads(said)
    kind = getattr(errors, name, MachineError)
    error: EverymaskError = kind(message, hint=hint)
    return error
