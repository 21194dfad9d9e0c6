"""A prediction in shards, as the command line asks for it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from everymask.commands.batch.options import Loading, Sharding, weights_of
from everymask.commands.terminal import counting, watched
from everymask.core.files import is_there
from everymask.core.machine.cores import usable_cores
from everymask.core.processes.launched import launched
from everymask.core.processes.rank import ALONE, Rank
from everymask.engines.in_ranks import run_share
from everymask.engines.local import run_locally
from everymask.engines.on_ray import cluster
from everymask.engines.prediction import Engine, Order, planned, predict_shards, summary
from everymask.engines.shard_work import Job
from everymask.errors import Issue, counted, require
from everymask.infer.predictor import Predictor
from everymask.infer.tiling import Tiling
from everymask.results.output import OutputFolder
from everymask.results.shards.plan import Plan
from everymask.results.shards.store import is_remote, local_path
from everymask.results.shards.work import Tally
from everymask.tasks.task import Writing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is predicted and where it goes; `about` is all on which results depend, but for the weights."""

    out: str
    sources: tuple[str, ...]
    min_score: float
    batch: int | None
    tiling: Tiling | None
    overlay: Literal["png", "jpg", "none"]
    about: Mapping[str, object]
    resume: bool
    overwrite: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What all pictures show, in the words of the folder of usual predictions, and which pictures failed."""

    folder: OutputFolder[Any]
    total: Tally
    issues: list[Issue]
    passed_over: Counter[str]


def predict_in_shards(
    asked: Asked, options: Sharding, loading: Loading, model: Predictor, rank: Rank = ALONE
) -> Answer | None:
    """Predict what is asked for, or go on with it, and say what was found.

    Of the processes that a launcher started each predicts its share, and the first says what was found.
    """
    if options.engine == "ray":
        require("ray.data", "ray")
    weights, passed_over = weights_of(loading.model), Counter[str]()
    # Workers may stand in another folder, and who goes on with it too.
    out, sources = _absolute(asked.out), tuple(map(_absolute, asked.sources))
    more = {name: getattr(options, name) for name in ("pngs", "shard_size")}
    about = {**asked.about, **more, "overlay": asked.overlay, "weights": weights}
    launch = launched()
    begun = launch is not None and launch.restarts > 0  # and goes on, whatever was asked for when it began
    order = Order(
        out, sources, options.table, options.shard_size, model.task.name, model.labels, about,
        asked.resume or begun, asked.overwrite and not begun,
    )  # fmt: skip

    model_file = _absolute(loading.model) if is_there(loading.model) else loading.model

    def job_of(plan: Plan, loaded: Loading) -> Job:
        return Job(out, sources, plan, loaded, asked.min_score, asked.batch, asked.tiling, asked.overlay, options.pngs)

    if not rank.leads:
        plan: Plan = rank.agreed(None)  # type: ignore[assignment]
        replace(loading, weights=plan.about["weights"]).check()
        for _ in run_share(job_of(plan, loading), model, (), rank):
            pass
        return None
    listed = partial(watched, "listing pictures")
    with planned(order, passed_over, listed) as plan, _engine(options, model, rank) as (engine, workers):
        loaded = replace(loading, model=model_file, weights=weights, workers=workers)
        job = job_of(rank.agreed(plan), loaded)
        with _said_how_to_go_on(), counting("predicting", plan.pictures) as move:
            for done, failed in predict_shards(job, engine, workers):
                move(done, failed)
        total, issues = summary(job.store, plan)
    folder = model.task.folder(model.labels, Writing(Path(asked.out), overwrite=True))
    folder.count, folder.cut = total.pictures, total.cut
    folder.found = Counter(getattr(total, model.task.unit))
    return Answer(folder, total, issues, passed_over)


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(local_path(path))  # noqa: PTH100 (`resolve` would follow links)


@contextmanager
def _engine(options: Sharding, model: Predictor, rank: Rank) -> Iterator[tuple[Engine, int]]:
    """Who calculates, and how many of them there are in this process."""
    if rank.count > 1:
        yield lambda job, shards, _: run_share(job, model, shards, rank), 1
        return
    if options.engine == "ray":
        with cluster(options.address) as (engine, places):
            yield engine, options.workers or places
        return
    import torch

    yield run_locally, options.workers or torch.cuda.device_count() or len(usable_cores())


@contextmanager
def _said_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _log.warning("stopped; what is done is written, and the same command with --resume goes on")
        raise


def failed_of(answer: Answer) -> str:
    """How many pictures failed, in words."""
    total = answer.total
    return f"{total.failed:,} of {counted(total.pictures + total.failed, 'picture')} could not be predicted"
