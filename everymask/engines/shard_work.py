"""One shard predicted: block by block, going on behind what is done, whatever has ended the process before."""

from __future__ import annotations

import logging
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import numpy as np

from everymask.core.memory import room_for
from everymask.core.segmentation import Segmentation
from everymask.data.pictures.read import write_image
from everymask.errors import DataError, EverymaskError, MachineError, UnusableHere, counted, printable
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import Source
from everymask.infer.stream import smaller
from everymask.infer.tiling import Tiling
from everymask.results.output import OutputNames, safe_part
from everymask.results.shards.pictures import FoundPicture, found_picture
from everymask.results.shards.plan import Plan
from everymask.results.shards.store import LocalStore, Store, is_remote, open_remote, open_store
from everymask.results.shards.work import Block, Shard
from everymask.tasks.task import Drawing

MOST_TRIES = 3
_MOST_FAILURES = 100

Done: TypeAlias = tuple[int, int]
"""How many pictures more are done, and how many of these failed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """All that a process needs to know, wherever it is.

    `load` gives the model to the worker of a number. Results lie in `out`, for pictures that `sources` named. Objects
    less sure than `min_score` are left out; `batch` and `tiling` are as for `Predictor.attempts`. `overlay` and `pngs`
    say what is written for each picture besides the tables.
    """

    out: str
    sources: tuple[str, ...]
    plan: Plan
    load: Callable[[int], Predictor]
    min_score: float = 0.5
    batch: int | None = None
    tiling: Tiling | None = None
    overlay: Literal["png", "jpg", "none"] = "none"
    pngs: bool = False

    @cached_property
    def store(self) -> Store:
        """Where results lie."""
        return open_store(self.out)

    def shown(self, path: str) -> str:
        """The path of a picture as the tables give it: below the folder that holds all."""
        if is_remote(path):
            base = f"{self.sources[0].rstrip('/')}/"
            return path.removeprefix(base) if len(self.sources) == 1 else path
        return self._names.shown(path)

    @cached_property
    def _names(self) -> OutputNames:
        return OutputNames(self.sources)


def predict_shard(job: Job, model: Predictor, number: int) -> Iterator[Done]:
    """Predict the pictures of a shard that are not done yet, and write its tables; gives what is done as it goes.

    A block that was begun before and not finished has ended its process, or was there when that was ended. So it is
    predicted without others beside it, and at the next time picture by picture; one that was begun three times alone is
    a failure. So is one at which the program raises whatever it may; `MachineError` where a hundred in a row do.
    """
    shard = Shard(job.store, number)
    work, blocks = _Work(job, model, shard), shard.blocks()
    found = {block.name: shard.read(block) for block in blocks}
    for pictures in found.values():
        if pictures is not None:
            yield _counted(pictures)
    while fresh := [block for block in blocks if found[block.name] is None and not shard.tries(block)]:
        yield from work.stream(fresh, found)
    for block in blocks:
        if found[block.name] is None and shard.tries(block) == 1:
            yield from work.stream([block], found)
        if found[block.name] is None:
            found[block.name] = yield from work.one_by_one(block)
    pictures = [picture for block in blocks for picture in found[block.name] or ()]
    shard.finish(pictures, job.plan, first=number * job.plan.shard_size + 1)


@dataclass(slots=True)
class _Work:
    job: Job
    model: Predictor
    shard: Shard
    failures: int = 0

    def stream(self, blocks: Sequence[Block], found: dict[str, list[FoundPicture] | None]) -> Iterator[Done]:
        """Predict blocks, the next of which are read meanwhile, and note what is `found` in each by its name.

        That ends before the first block at which the program raises something.
        """

        def sources() -> Iterator[Source]:
            for block in blocks:
                self.shard.begin(block)
                yield from map(_source, block.paths)

        try:
            with closing(self.model.attempts(sources(), batch=self.job.batch, tiling=self.job.tiling)) as outcomes:
                for block in blocks:
                    pictures = [self._kept(path, next(outcomes)) for path in block.paths]
                    self.shard.write(block, pictures)
                    found[block.name] = pictures
                    yield _counted(pictures)
        except EverymaskError:
            raise
        except Exception as error:  # of whichever picture; it is looked for
            _log.warning("some pictures are predicted again: %s: %s", type(error).__name__, printable(error))

    def one_by_one(self, block: Block) -> Generator[Done, None, list[FoundPicture]]:
        """Predict the pictures of a block that was begun before."""
        pictures = []
        for single in block.singles():
            found = self.shard.read(single)
            if found is None:
                found = [self._alone(single)]
                self.shard.write(single, found)
            yield _counted(found)
            pictures += found
        self.shard.write(block, pictures)
        return pictures

    def _alone(self, single: Block) -> FoundPicture:
        (path,) = single.paths
        if self.shard.tries(single) >= MOST_TRIES:
            reason = f"the process ended each of the {MOST_TRIES} times that it was predicted"
            return self._failed(path, f"{printable(path)}: {reason}")
        self.shard.begin(single)
        try:
            with closing(
                self.model.attempts([_source(path)], batch=self.job.batch, tiling=self.job.tiling)
            ) as outcomes:
                found = self._kept(path, next(outcomes))
        except EverymaskError:
            raise
        except Exception as error:  # a picture's failure is a line of the table, whatever it is
            self.failures += 1
            if self.failures >= _MOST_FAILURES:
                raise MachineError(
                    f"{counted(self.failures, 'picture')} in a row failed, the last by {type(error).__name__}: "
                    f"{printable(error)}",
                    hint="predict one of them without --engine to see why",
                ) from error
            return self._failed(path, f"{printable(path)}: {type(error).__name__}: {printable(error)}")
        self.failures = 0
        return found

    def _failed(self, path: str, reason: str, *, unusable: bool = False) -> FoundPicture:
        return FoundPicture(self.job.shown(path), error=reason, unusable=unusable)

    def _kept(self, path: str, outcome: Result | DataError) -> FoundPicture:
        """What is kept of a picture's result, after its PNGs are written."""
        job = self.job
        try:
            if isinstance(outcome, DataError):
                raise outcome
            sure: Segmentation = self.model.task.keep_sure(outcome.segmentation, job.min_score)
            with room_for(path, smaller(self.model)):
                self._draw(path, outcome, sure)
                cut = outcome.cut_below is not None and outcome.cut_below >= job.min_score
                return found_picture(job.shown(path), outcome.sample.size, sure, cut=cut)
        except DataError as error:
            return self._failed(path, error.message, unusable=isinstance(error, UnusableHere))

    def _draw(self, path: str, outcome: Result, sure: Segmentation) -> None:
        name = png_name(self.job.shown(path))
        if self.job.pngs:
            ids = sure.to_ids()
            kind = np.uint8 if ids.max(initial=0) <= np.iinfo(np.uint8).max else np.uint16
            if ids.max(initial=0) > np.iinfo(np.uint16).max:
                raise DataError(f"{printable(path)}: {ids.max():,} objects, but a 16-bit picture can number 65,535")
            _write_picture(self.job.store, f"ids/{name}.png", ids.astype(kind))
        if self.job.overlay != "none":
            drawn = self.model.task.draw(
                outcome.sample.image, sure, outcome.labels, Drawing(before=outcome.sample.before)
            )
            _write_picture(self.job.store, f"overlays/{name}.{self.job.overlay}", drawn)


def _counted(found: Sequence[FoundPicture]) -> Done:
    return len(found), sum(bool(picture.error) for picture in found)


def png_name(shown: str) -> str:
    """The name of what is drawn of a picture: its path with its ending, odd characters replaced.

    No two pictures of a folder share it, so that nobody needs to know the others' names.
    """
    parts = [part for part in PurePosixPath(shown).parts if part != "/"]
    safe = "/".join(map(safe_part, parts)) or "picture"
    told_apart = f"-{zlib.crc32(shown.encode('utf-8', 'surrogateescape')):08x}"
    return safe if safe == "/".join(parts) else safe + told_apart


def _write_picture(store: Store, name: str, pixels: np.ndarray) -> None:
    if isinstance(store, LocalStore):
        write_image(store.root / name, pixels)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"picture.{name.rpartition('.')[2]}"
        write_image(file, pixels)
        store.write(name, file.read_bytes())


def _source(path: str) -> Source:
    return _RemotePicture(path) if is_remote(path) else path  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _RemotePicture:
    """A picture on another machine, read when its turn comes and by whoever is free."""

    name: str

    def read(self) -> bytes:
        files, path = open_remote(self.name)
        try:
            data: bytes = files.cat_file(path)
        except FileNotFoundError:
            raise DataError(f"{printable(self.name)}: there is no such file") from None
        except Exception as error:  # file systems have errors of their own
            raise UnusableHere(f"{printable(self.name)}: cannot be read: {printable(error)}") from error
        return data
