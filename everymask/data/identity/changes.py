"""What differs between what a data set held and what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from everymask.data.identity.content import Classes, Held, Identity
from everymask.errors import listed, printable

Kind: TypeAlias = Literal["picture changed", "truth changed", "removed", "added"]


@dataclass(frozen=True, slots=True)
class Change:
    """How a picture, by its id, is another than it was; `what` says it in words."""

    id: str
    kind: Kind
    what: str


def changes(before: Identity, now: Identity) -> Iterator[Change]:
    """What became of each picture that is not what it was, then what came to them."""
    holders = {content.picture: name for name, content in before.held.items()}
    for name, old in before.held.items():
        new = now.held.get(name)
        if new is None:
            yield Change(name, "removed", "the picture, or its annotation, is not there any more")
            continue
        if new.picture != old.picture:
            other = holders.get(new.picture)
            also = f"what {printable(other)} held" if other else "something else"
            yield Change(name, "picture changed", f"the picture's file holds {also}")
        if new.truth != old.truth:
            yield Change(name, "truth changed", _truth_change(old, new))
    for name in now.held:
        if name not in before.held:
            yield Change(name, "added", "the picture was not there before")


def class_change(before: Classes, now: Classes) -> str:
    """How what the numbers in the truth stand for is another than it was; empty where it is not."""
    if before == now:
        return ""
    if before.names != now.names:
        return f"the classes were {listed(before.names)}, and are {listed(now.names)}"
    return "the numbers in label maps stand for other classes"


def _truth_change(old: Held, new: Held) -> str:
    count = "number of objects"
    if count in old.truth and count in new.truth and old.truth[count] != new.truth[count]:
        return f"{old.truth[count]} objects were annotated, and {new.truth[count]} are"
    names = [name for name in {**old.truth, **new.truth} if old.truth.get(name) != new.truth.get(name)]
    return f"other than before: {', '.join(names)}"
