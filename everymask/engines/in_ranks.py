"""Shards predicted by the processes that a launcher such as `torchrun` started: each has its share of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain

from everymask.core.processes.launched import rank_timeout
from everymask.core.processes.rank import Rank
from everymask.engines.shard_work import Done, Job, predict_shard
from everymask.errors import MachineError, counted
from everymask.infer.predictor import Predictor
from everymask.results.shards.work import finished, read_tally

_LOOK = 0.5  # seconds between two looks at what the others have written


def run_share(job: Job, model: Predictor, shards: Sequence[int], rank: Rank) -> Iterator[Done]:
    """Predict every `rank.count`-th of the shards; gives how many pictures more are done, and have failed.

    All processes call it with the shards of the first, which waits for those of the others and tells of each when it
    is finished. `MachineError` where nothing was written for as long as one process may keep the others waiting.
    """
    shards = rank.agreed(list(shards))
    own = shards[rank.index :: rank.count]
    awaited = set(shards) - set(own)
    for shard in own:
        yield from predict_shard(job, model, shard)
        if rank.leads:
            yield from _news(job, awaited)
    if rank.leads:
        yield from _rest(job, awaited)


def _news(job: Job, awaited: set[int]) -> Iterator[Done]:
    """What the shards show that are finished now, which are awaited no more."""
    for shard in sorted(awaited & finished(job.store)):
        tally = read_tally(job.store, shard)
        awaited.remove(shard)
        yield tally.pictures + tally.failed, tally.failed


def _rest(job: Job, awaited: set[int]) -> Iterator[Done]:
    seen, since, patience = None, time.monotonic(), rank_timeout()
    while awaited:
        yield from _news(job, awaited)
        written = tuple(chain.from_iterable(job.store.names(f"parts/{shard:05}") for shard in sorted(awaited)))
        if written != seen:
            seen, since = written, time.monotonic()
        elif time.monotonic() - since > patience:
            raise MachineError(
                f"{counted(len(awaited), 'shard')} of other processes are not finished, and nothing was written for "
                f"{patience:g} seconds",
                hint="what is done stays, and --resume goes on; EVERYMASK_RANK_TIMEOUT raises the limit",
            )
        if awaited:
            time.sleep(_LOOK)
