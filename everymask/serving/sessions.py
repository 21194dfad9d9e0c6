"""Pictures that a network has looked at once, kept for the prompts that follow: the last ones, as memory allows."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from everymask.infer.prompted.session import Session
from everymask.infer.result import Result
from everymask.serving.problems import Problem
from everymask.serving.shelf import Version

Found = TypeVar("Found")


@dataclass(eq=False, slots=True)
class Kept:
    """A session by its name: whose it is, which version answers, and the answers so far. One prompt at a time."""

    name: str
    client: str
    version: Version
    session: Session
    answers: list[Result] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def nbytes(self) -> int:
        """What it takes of memory."""
        masks = [answer.instances.masks for answer in self.answers]
        return self.session.nbytes + sum(int(each.bits.nbytes) for each in masks if each is not None)

    def alone(self, change: Callable[[], Found]) -> Found:
        """What `change` gives, while nobody else changes the session; `Problem` (409) where somebody does."""
        if not self.lock.acquire(blocking=False):
            raise Problem(409, "in-use", "the session is answering another prompt", hint="wait for its answer")
        try:
            return change()
        finally:
            self.lock.release()

    def prompt(self, asked: dict[str, Any]) -> Result:
        """The answer to one more prompt: the arguments of `Session.predict`."""
        answer = self.session.predict(**asked)
        self.answers.append(answer)
        return answer

    def undo(self) -> Result | None:
        """Take back the last prompt; the answer before it, None where there is none."""
        self.session.undo()
        self.answers.pop()
        return self.answers[-1] if self.answers else None

    def reset(self) -> None:
        """Begin with new objects."""
        self.session.reset()
        self.answers.clear()


@dataclass(eq=False)
class Sessions:
    """All sessions of a service, in up to `budget` bytes: those go first that were asked least lately."""

    budget: int
    _kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """What they take of memory together."""
        return sum(kept.nbytes for kept in self._kept.values())

    def add(self, client: str, version: Version, session: Session) -> Kept:
        """Keep a session under a new name, which nobody can guess; `Problem` (413) where there is no room for it."""
        kept = Kept(secrets.token_urlsafe(16), client, version, session)
        if kept.nbytes > self.budget:
            raise Problem(
                413,
                "too-large",
                f"a session of this picture takes {kept.nbytes:,} bytes, and all together may take {self.budget:,}",
                hint="make the picture smaller, or start the service with more --session-megabytes",
            )
        self._kept[kept.name] = kept
        self.make_room()
        return kept

    def find(self, name: str, client: str) -> Kept:
        """The session of that name, which then is the last that was asked; `Problem` (404) where there is none."""
        kept = self._kept.get(name)
        if kept is None or kept.client != client:
            raise Problem(
                404,
                "no-such-session",
                "there is no such session: it was deleted, or others needed its memory",
                hint="begin it anew: POST /v1/sessions with the picture",
            )
        self._kept.move_to_end(name)
        return kept

    def remove(self, name: str, client: str) -> None:
        """Forget a session; `Problem` (404) as in `find`."""
        self.find(name, client)
        del self._kept[name]

    def make_room(self) -> None:
        """Forget those that were asked least lately, until the others fit."""
        while self._kept and self.nbytes > self.budget:
            self._kept.popitem(last=False)
