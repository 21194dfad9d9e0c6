"""A prediction in shards from its beginning to its end, whoever calculates them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

from everymask.core.labels import Labels
from everymask.core.segmentation import TaskName
from everymask.engines.listing import list_pictures
from everymask.engines.shard_work import Job
from everymask.errors import ConfigError, Issue, counted, printable
from everymask.results.output import check_place, csv_line
from everymask.results.shards.plan import PLAN, Plan, check_same, digest_listing, read_plan, write_plan
from everymask.results.shards.store import LocalStore, Store, is_remote, open_store
from everymask.results.shards.tables import TableKind, table_of
from everymask.results.shards.work import Tally, finished, tallies
from everymask.train.folder.lock import LOCK, locked

Engine: TypeAlias = Callable[[Job, Sequence[int], int], Iterator[tuple[int, int]]]
"""Predicts shards of a job by a number of workers; gives how many pictures more are done, and how many failed."""

ERRORS = "errors.csv"
_FOLDERS = ("plan", "parts", "done", "predictions", "pictures", ERRORS)
_SHOWN = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: pictures, where results go, how they are stored, and on what else they depend (`about`)."""

    out: str
    sources: tuple[str, ...]
    table: TableKind
    shard_size: int
    task: TaskName
    labels: Labels
    about: Mapping[str, Any]
    resume: bool = False
    overwrite: bool = False


@contextmanager
def planned(
    order: Order, left_out: Counter[str], watched: Callable[[Iterator[str]], Iterator[str]] = iter
) -> Iterator[Plan]:
    """The plan of a prediction, begun or gone on with; within, no other process of this kind works in its folder.

    `left_out` counts what the sources hold besides pictures, and `watched` sees these as they are listed. `ConfigError`
    where the folder holds something else, or a prediction of another model or with other options; errors of listing as
    by `list_pictures`.
    """
    if order.shard_size < 1:
        raise ConfigError(f"shard-size must be at least 1, but got {order.shard_size}")
    store = open_store(order.out)
    table_of(order.table)
    before = read_plan(store)
    _check_folder(store, order, before)
    with _held(store):
        listing = watched(list_pictures(order.sources, left_out))
        if before is None or order.overwrite:
            yield _begun(store, order, listing)
        else:
            check_same(before, order.about, order.table, store.place)
            _tell_changes(before, listing)
            yield before


def predict_shards(job: Job, engine: Engine, workers: int) -> Iterator[tuple[int, int]]:
    """Predict all shards that are not finished; gives how many pictures more are done, and have failed.

    What is finished already comes first.
    """
    done = finished(job.store)
    before = reduce(Tally.__add__, tallies(job.store, job.plan.shards), Tally())
    yield before.pictures + before.failed, before.failed
    yield from engine(job, [shard for shard in range(job.plan.shards) if shard not in done], workers)
    job.store.remove("parts")


def summary(store: Store, plan: Plan) -> tuple[Tally, list[Issue]]:
    """What all finished shards show, and the first hundred pictures that failed; all of these are in `errors.csv`."""
    total, lines, issues = Tally(), [csv_line(("file", "error"))], list[Issue]()
    for tally in tallies(store, plan.shards):
        total += tally
        lines += [csv_line((file, error)) for file, error in tally.errors]
        issues += [Issue("picture", error) for _, error in tally.errors[: _SHOWN - len(issues)]]
    if total.failed:
        store.write(ERRORS, b"".join(lines))
    else:
        store.remove(ERRORS)
    return total, issues


def _check_folder(store: Store, order: Order, before: Plan | None) -> None:
    if before is not None and not (order.resume or order.overwrite):
        raise ConfigError(
            f"there is a prediction of {counted(before.pictures, 'picture')} in {printable(store.place)}",
            hint="continue it with --resume, begin anew with --overwrite, or choose another --out",
        )
    if isinstance(store, LocalStore):
        inputs = [Path(source) for source in order.sources if not is_remote(source)]
        begun = (store.root / "plan").is_dir() or (store.root / LOCK).is_file()
        check_place(store.root, inputs, overwrite=before is not None or order.overwrite or (order.resume and begun))


@contextmanager
def _held(store: Store) -> Iterator[None]:
    """Within, other processes are kept away; a folder in which nothing was written is left as it was."""
    if not isinstance(store, LocalStore):
        yield
        return
    made = [place for place in (store.root, *store.root.parents) if not place.exists()]
    with ExitStack() as stack:
        stack.callback(_withdraw, store.root, made)
        stack.enter_context(locked(store.root, "prediction"))
        store.clear()
        yield


def _withdraw(folder: Path, made: Sequence[Path]) -> None:
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
            for place in made:
                place.rmdir()


def _begun(store: Store, order: Order, listing: Iterator[str]) -> Plan:
    store.remove(PLAN)  # first: without it nothing else counts
    for folder in _FOLDERS:
        store.remove(folder)

    def describe(pictures: int, shards: int, listed: int, digest: str) -> Plan:
        return Plan(
            pictures, shards, order.shard_size, listed, digest, order.table, order.task, order.labels, order.about
        )

    try:
        plan = write_plan(store, listing, order.shard_size, describe)
    except BaseException:
        store.remove("plan")
        raise
    if not plan.pictures:
        store.remove(PLAN)
        raise ConfigError("no picture was named", hint="give folders of pictures, patterns, or lists of pictures")
    if plan.listed > plan.pictures:
        _log.warning("%s named twice and predicted once", counted(plan.listed - plan.pictures, "picture"))
    return plan


def _tell_changes(plan: Plan, listing: Iterator[str]) -> None:
    count, digest = digest_listing(listing)
    if digest != plan.digest:
        _log.warning(
            "the pictures are others than when this prediction began: it named %s, now there are %s; it goes on with "
            "those of its beginning, and new ones are left out",
            f"{plan.listed:,}",
            f"{count:,}",
        )
