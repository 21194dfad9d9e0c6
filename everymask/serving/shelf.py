"""The models of a service by their names: what is loaded, which version answers, and what is tried beside it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everymask.core.arrays import Array
from everymask.core.sample import Sample
from everymask.data.pictures.read import MAX_SIDE, read_header, read_image
from everymask.errors import EverymaskError, printable
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.serving.problems import Problem

_log = logging.getLogger(__name__)
_SIDE = 256
_NEW = 0.2
"""How much the last answer counts in the time that answers take."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from: the `name` it is asked by, how it is called elsewhere, and how to `load` it.

    `digest` tells whether what lies there now is what was loaded.
    """

    name: str
    source: str
    load: Callable[[], Predictor]
    digest: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Job:
    """The bytes of a picture, what it is called, and what becomes of its result, in the thread that predicted it."""

    data: bytes
    name: str
    finish: Callable[[Result, Version], Any]


@dataclass(eq=False, slots=True)
class Asking:
    """One kind of work with a model, which the line reckons with: its jobs are functions. It takes `seconds`."""

    seconds: float = 0.0

    def run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """What each gives, or the exception that says why there is nothing."""
        outcomes: list[Any] = []
        for job in jobs:
            try:
                outcomes.append(job())
            except Exception as error:  # the failure of one is no matter of the others
                outcomes.append(error)
        return outcomes

    def took(self, seconds: float) -> None:
        """One more job took so long."""
        self.seconds += _NEW * (seconds - self.seconds)


@dataclass(eq=False, slots=True)
class Version:
    """A loaded model. `seconds` is what one answer took lately, from the picture's bytes to those of the answer.

    Where it answers prompts, `looking` at a picture and `answering` a prompt are work of their own.
    """

    name: str
    version: str
    source: str
    predictor: Predictor
    max_pixels: int
    loaded: float = 0.0
    seconds: float = 0.0
    looking: Asking = field(default_factory=Asking)
    answering: Asking = field(default_factory=Asking)

    @property
    def answers_prompts(self) -> bool:
        """Whether it looks at a picture and then is asked: it finds nothing by itself."""
        return self.predictor.task.interactive

    def took(self, seconds: float) -> None:
        """One more answer took so long."""
        self.seconds += _NEW * (seconds - self.seconds) if self.seconds else seconds

    def run(self, jobs: Sequence[Job]) -> list[Any]:
        """What each job's `finish` makes of its result, or the exception that says why there is none."""
        outcomes: list[Any] = [None] * len(jobs)
        samples: dict[int, Sample] = {}
        for place, job in enumerate(jobs):
            try:
                samples[place] = self.sample(job)
            except Exception as error:  # one damaged picture is no matter of those beside it
                outcomes[place] = error
        for place, found in zip(samples, self._predicted(list(samples.values())), strict=True):
            try:
                outcomes[place] = found if isinstance(found, Exception) else jobs[place].finish(found, self)
            except Exception as error:
                outcomes[place] = error
        return outcomes

    def sample(self, job: Job) -> Sample:
        """The picture of a job; `Problem` (413) for one that is too large, `DataError` for one that cannot be read."""
        height, width = read_header(job.data, max_pixels=MAX_SIDE**2).size
        if height * width > self.max_pixels:
            raise Problem(
                413,
                "too-many-pixels",
                f"the picture has {width:,} x {height:,} pixels, and this service takes {self.max_pixels:,}",
                hint="make it smaller, or predict it with `everymask predict`",
            )
        return Sample(read_image(job.data), id=job.name)

    def _predicted(self, samples: list[Sample]) -> list[Result | Exception]:
        try:
            if len(samples) > 1:
                return list(self.predictor.attempts(samples, batch=len(samples)))
            return [self.predictor.predict(sample) for sample in samples]
        except Exception as error:
            return [error] * len(samples)

    def try_out(self) -> None:
        """Predict a picture twice, the first time to warm up; what that raises says that the model does not work."""
        picture = trial_picture(self.predictor)
        for turn in range(2):
            begun = time.monotonic()
            if self.answers_prompts:
                # Another picture, since what the network has seen of the first is kept.
                session = self.predictor.session(np.roll(picture, turn))
                self.seconds = self.looking.seconds = time.monotonic() - begun
                begun = time.monotonic()
                session.predict(points=[[_SIDE / 2, _SIDE / 2]])
                self.answering.seconds = time.monotonic() - begun
            else:
                self.predictor.predict(picture)
                self.seconds = time.monotonic() - begun

    def to_json(self) -> dict[str, Any]:
        """What clients may know of it."""
        card = self.predictor.card
        return {
            "name": self.name,
            "version": self.version,
            "task": self.predictor.task.name,
            "prompts": self.answers_prompts,
            "classes": list(card.labels.names),
            "colours": [list(colour) for colour in card.labels.colours],
            "channels": card.preprocess.channels,
            "metrics": dict(card.metrics),
            "licence": card.licence,
            "device": self.predictor.backend.device,
            "seconds": round(self.seconds, 4),
        }


def trial_picture(model: Predictor) -> Array:
    """A picture that grows brighter from left to right, of a kind that the model takes."""
    preprocess = model.card.preprocess
    kind = np.uint16 if preprocess.scale > 255 else np.uint8
    ramp = np.linspace(0, np.iinfo(kind).max, _SIDE).astype(kind)
    return np.repeat(np.tile(ramp, (_SIDE, 1))[..., None], preprocess.channels, axis=2)


@dataclass(eq=False, slots=True)
class Slot:
    """A name: where its model comes from, the version that answers, and a canary that gets a share of the requests."""

    origin: Origin
    current: Version
    canary: Version | None = None
    share: float = 0.0
    asked: int = 0

    def choose(self) -> Version:
        """The version for the next request; of any n in a row the canary gets n x `share`, rounded up or down."""
        self.asked += 1
        if self.canary is not None and int(self.asked * self.share) > int((self.asked - 1) * self.share):
            return self.canary
        return self.current


@dataclass(eq=False)
class Shelf:
    """All models of a service; the first is the one that is meant where none is named."""

    max_pixels: int
    slots: dict[str, Slot] = field(default_factory=dict)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, origin: Origin, canary: Origin | None = None, share: float = 0.0) -> None:
        """Load a model, and perhaps one that is tried beside it; raises what loading raises."""
        current = self._loaded(origin)
        self.slots[origin.name] = Slot(origin, current, self._loaded(canary) if canary else None, share)

    def slot(self, name: str | None) -> Slot:
        """The models of that name, or the first; `Problem` (404) where there is none."""
        if not name:
            return next(iter(self.slots.values()))
        if name not in self.slots:
            known = ", ".join(self.slots)
            raise Problem(
                404, "no-such-model", f"there is no model {printable(name, 60)!r}", hint=f"there are: {known}"
            )
        return self.slots[name]

    def versions(self) -> list[Version]:
        """All that are loaded."""
        every = (version for slot in self.slots.values() for version in (slot.current, slot.canary))
        return [version for version in every if version is not None]

    async def reload(self, name: str) -> bool:
        """Load a model anew if its file is another, and let it answer from then on; whether it was.

        Requests that were let in before are answered by the version that they came for. `Problem` (409) where it cannot
        be loaded or fails its trial: then the old one goes on.
        """
        slot = self.slot(name)
        async with self._reloading:
            try:
                if await asyncio.to_thread(slot.origin.digest) == slot.current.version:
                    return False
                fresh = await asyncio.to_thread(self._loaded, slot.origin)
            except (EverymaskError, OSError) as error:
                message = getattr(error, "message", str(error))
                raise Problem(
                    409, "not-reloaded", f"{name} answers as before: {message}", hint="mend the file, then reload"
                ) from error
            fresh.seconds = max(fresh.seconds, slot.current.seconds)
            slot.current = fresh
        _log.info("reloaded", extra={"facts": {"model": name, "version": fresh.version}})
        return True

    def _loaded(self, origin: Origin) -> Version:
        digest = origin.digest()
        version = Version(origin.name, digest, origin.source, origin.load(), self.max_pixels, time.time())
        version.try_out()
        return version
