"""Groups of pictures dealt out so that every class has its share in every split.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data"): the class
that fewest of the waiting pictures show is dealt out first, each of its pictures to the split that misses most of its
share of that class. Three things are added: groups stay together, the sizes of the splits are kept, and a class that is
in as many groups as there are splits comes into each of them where there is room.

Where many rare classes meet small splits, the first ones take the room of the others. So groups of one size are then
exchanged between splits as long as that brings classes into splits that lack them, or brings them nearer to their
shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

_NOTHING = -1
_TRIES = 50_000
_GIVING, _TAKING = 100, 20


@dataclass(frozen=True, slots=True)
class Group:
    """The `rows` of pictures that stay together, and how many of them show each class; without any, {-1: pictures}."""

    rows: tuple[int, ...]
    classes: Counter[int]

    @classmethod
    def of(cls, rows: Sequence[int], shown: Sequence[frozenset[int]]) -> Group:
        """The group of these rows of a data set whose pictures show the classes `shown`."""
        counts = Counter(name for row in rows for name in shown[row] or (_NOTHING,))
        return cls(tuple(rows), counts)


@dataclass(slots=True)
class Split:
    """A split while it is filled: its `share` of all, the `room` left in it (pictures), and what it `shows`."""

    name: str
    share: float
    room: int
    shows: Counter[int]
    empty: bool = True

    def take(self, group: Group) -> None:
        """Put a group into it."""
        self.room -= len(group.rows)
        self.empty = False
        self.shows.update(group.classes)

    def misses(self, shown: int, total: int) -> float:
        """How many pictures of a class it lacks of its share of the `total`."""
        return self.share * total - self.shows[shown]


def deal(groups: Sequence[Group], fractions: Sequence[tuple[str, float]], room: Sequence[int]) -> dict[int, str]:
    """The split of each row; `groups` are in the order in which they are drawn, `room` is how many pictures each split
    gets. Every split gets a group, where there are as many.
    """
    totals: Counter[int] = Counter()
    by_class: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        totals.update(group.classes)
        for shown in group.classes:
            by_class.setdefault(shown, []).append(place)
    splits = [Split(name, share, count, Counter()) for (name, share), count in zip(fractions, room, strict=True)]
    left = Counter({name: len(places) for name, places in by_class.items()})
    rest = set(by_class)
    owners: dict[int, Split] = {}
    while len(owners) < len(groups):
        rarest = min((name for name in rest if left[name]), key=lambda name: (name == _NOTHING, left[name], name))
        rest.remove(rarest)
        for place in by_class[rarest]:
            if place in owners:
                continue
            waiting = len(groups) - len(owners)
            chosen = _choose(splits, groups[place], rarest, totals[rarest], left[rarest], waiting)
            chosen.take(groups[place])
            owners[place] = chosen
            left.subtract(groups[place].classes.keys())
    _exchange(groups, splits, owners, by_class, totals)
    return {row: split.name for place, split in owners.items() for row in groups[place].rows}


def _choose(splits: Sequence[Split], group: Group, shown: int, total: int, left: int, waiting: int) -> Split:
    """The split for a group that shows a class, of which `left` groups wait, among `waiting` in all."""
    empty = [split for split in splits if split.empty]
    if empty and waiting <= len(empty):
        return empty[0]
    fitting = [split for split in splits if split.room >= len(group.rows)] or empty
    if not fitting:
        return max(splits, key=lambda split: split.room)
    lacking = [split for split in fitting if not split.shows[shown]]
    wanted = lacking if lacking and left <= len(lacking) else fitting
    return max(wanted, key=lambda split: (split.misses(shown, total), split.room))


def _exchange(
    groups: Sequence[Group],
    splits: Sequence[Split],
    owners: dict[int, Split],
    by_class: dict[int, list[int]],
    totals: Counter[int],
) -> None:
    """Exchange groups for each class that a split lacks although there are enough of it, the rarest first."""
    wanted = [name for name, places in by_class.items() if len(places) >= len(splits) and name != _NOTHING]
    tries = 0
    for shown in sorted(wanted, key=lambda name: (totals[name], name)):
        for split in splits:
            if split.shows[shown] or tries > _TRIES:
                continue
            best, gain = None, 1e-9
            for mine, other in _candidates(groups, split, owners, by_class[shown]):
                tries += 1
                better = _gain(groups, split, owners[other], (mine, other), totals, len(splits))
                if better > gain:
                    best, gain = (mine, other), better
            if best is not None:
                mine, other = best
                for place, old, new in ((mine, split, owners[other]), (other, owners[other], split)):
                    old.shows.subtract(groups[place].classes)
                    new.shows.update(groups[place].classes)
                owners[mine], owners[other] = owners[other], split


def _candidates(
    groups: Sequence[Group], split: Split, owners: dict[int, Split], places: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Some groups of a split, each with groups of others that show a class (`places`) and have its size."""
    own = [place for place in range(len(groups)) if owners[place] is split]
    others = [place for place in places if owners[place] is not split]
    for mine in islice(own, _GIVING):
        alike = (other for other in others if len(groups[other].rows) == len(groups[mine].rows))
        for other in islice(alike, _TAKING):
            yield mine, other


def _gain(
    groups: Sequence[Group], split: Split, other: Split, pair: tuple[int, int], totals: Counter[int], parts: int
) -> float:
    """By how much exchanging a group of `split` for one of `other` betters them."""
    mine, theirs = (groups[place].classes for place in pair)
    gain = 0.0
    for shown in mine.keys() | theirs.keys():
        step = theirs[shown] - mine[shown]
        for one, change in ((split, step), (other, -step)):
            before, after = one.shows[shown], one.shows[shown] + change
            share, total = one.share * totals[shown], totals[shown]
            gain += (abs(before - share) - abs(after - share)) / total
            gain += ((before == 0) - (after == 0)) * (total >= parts)
    return gain
