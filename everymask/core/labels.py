"""Class names and colours: they travel with data, weights and results and are never global."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.json.values import value_of
from everymask.errors import DataError, printable, unknown

Colour = tuple[int, int, int]
_BY_NUMBER = -1
_MOST_CLASSES = 100_000


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a data set or a model, in the order of their ids.

    Class `k` is called `names[k]` and drawn in `colours[k]` (RGB, 0-255). Instance data sets list only objects:
    there is no background class. `things` are the ids of countable classes in a panoptic set.

    `ignore` is the number that stands in label maps where there is no truth, and in predictions where no class is. It
    lies above the ids of all classes, so it is the largest number in a label map. Unless it is given it is 255, or
    65535 for more than 255 classes.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    things: frozenset[int] = frozenset()
    ignore: int = _BY_NUMBER

    def __post_init__(self) -> None:
        repeated = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if repeated:
            raise DataError(
                f"class names must differ, but {', '.join(map(repr, repeated))} stands there more than once"
            )
        if not all(name.strip() for name in self.names):
            raise DataError(f"class names must not be empty, but got {list(self.names)}")
        if self.colours and len(self.colours) != len(self.names):
            raise DataError(f"expected a colour for each of the {len(self.names)} classes, but got {len(self.colours)}")
        if not self.colours:
            object.__setattr__(self, "colours", distinct_colours(len(self.names)))
        if self.ignore == _BY_NUMBER:
            object.__setattr__(self, "ignore", usual_ignore(len(self.names)))
        if self.ignore < len(self.names):
            raise DataError(
                f"label maps hold the class ids 0 to {len(self.names) - 1}, and a number above them where there is no "
                f"truth, but ignore is {self.ignore}",
                hint=f"leave it out: then it is {usual_ignore(len(self.names))}",
            )

    def __len__(self) -> int:
        return len(self.names)

    def coloured_as(self, other: Labels) -> Labels:
        """The same labels, whose classes that `other` also has are in its colours, however the two number them."""
        known = dict(zip(other.names, other.colours, strict=True))
        colours = zip(self.names, self.colours, strict=True)
        return replace(self, colours=tuple(known.get(name, own) for name, own in colours))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, as `from_json` takes them."""
        return {
            "names": list(self.names),
            "colours": [list(colour) for colour in self.colours],
            "things": sorted(self.things),
            "ignore": self.ignore,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Labels:
        """The labels that `to_json` wrote; what earlier versions wrote says 255 for any number of classes.

        `KeyError` without names, `ValueError` for a value that is none of its kind.
        """
        names = _stored(tuple[str, ...], data["names"], "names")
        ignore = _stored(int, data.get("ignore", _BY_NUMBER), "ignore")
        colours = _stored(tuple[Colour, ...], data.get("colours", ()), "colours")
        things = _stored(tuple[int, ...], data.get("things", ()), "things")
        if not all(0 <= value <= 255 for colour in colours for value in colour):
            raise ValueError("labels.colours must be numbers from 0 to 255")
        if not all(0 <= thing < len(names) for thing in things):
            raise ValueError(f"labels.things must be ids of the {len(names)} classes")
        return cls(names, colours, frozenset(things), ignore if ignore >= len(names) else _BY_NUMBER)


def _stored(kind: Any, value: Any, name: str) -> Any:
    return value_of(kind, value, f"labels.{name}", most_values=_MOST_CLASSES)


@dataclass(frozen=True, slots=True, eq=False)
class ClassMap:
    """From the class ids of one set of labels to those of another, which `map_classes` makes by their names.

    `table[k]` is what class `k` becomes; its last entry is what all becomes that is no class.
    """

    table: IntArray


def map_classes(
    source: Labels, target: Labels, renamed: Mapping[str, str] | None = None, unused: Collection[str] = ()
) -> ClassMap:
    """The ids in `target` of the classes of `source`, some of them `renamed` (name in `source` -> name in `target`).

    `DataError` names those that `target` does not have; of them, those that are `unused` become no class.
    """
    names = [(renamed or {}).get(name, name) for name in source.names]
    missing = [name for name in unknown_classes(source, target, renamed or {}) if name not in unused]
    if missing:
        raise unknown_shown(missing, target)
    ids = [target.names.index(name) if name in target.names else target.ignore for name in names]
    return ClassMap(np.array([*ids, target.ignore], np.min_scalar_type(max(len(target), target.ignore))))


def unknown_classes(source: Labels, target: Labels, renamed: Mapping[str, str]) -> tuple[str, ...]:
    """The classes of `source` that `target` does not have, though some are `renamed`.

    `ConfigError` for a renaming from or to a class that there is not.
    """
    for names, labels in ((renamed.keys(), source), (renamed.values(), target)):
        for name in names:
            if name not in labels.names:
                raise unknown("a class that is mapped", name, labels.names)
    return tuple(name for name in source.names if renamed.get(name, name) not in target.names)


def unknown_shown(names: Iterable[str], target: Labels) -> DataError:
    """The error for pictures that show classes of `names` that `target` does not have."""
    missing = list(names)
    return DataError(
        f"the data set has classes that the model does not know: {', '.join(map(printable, missing))}",
        hint=f"the model knows {', '.join(map(printable, target.names))}; say which of them is meant: "
        f'--classes "{printable(missing[0])}={printable(target.names[0])}"',
    )


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """`count` RGB colours that are far apart: hues by the golden angle, three lightnesses in turn."""

    def colour(index: int) -> Colour:
        hue = (0.58 + index * 0.61803398875) % 1.0
        rgb = colorsys.hls_to_rgb(hue, (0.55, 0.42, 0.68)[index // 7 % 3], 0.85)
        red, green, blue = (round(255 * value) for value in rgb)
        return red, green, blue

    return tuple(colour(index) for index in range(count))


def usual_ignore(classes: int) -> int:
    """What stands for no truth in label maps of so many classes, unless their labels say otherwise."""
    return 255 if classes <= 255 else max(65_535, classes)


def labels_of(names: Iterable[str]) -> Labels:
    """Labels with automatic colours."""
    return Labels(tuple(names))
