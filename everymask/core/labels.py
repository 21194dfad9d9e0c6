"""Class names and colours: they travel with data, weights and results and are never global."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from everymask.errors import DataError

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a data set or a model, in the order of their ids.

    Class `k` is called `names[k]` and drawn in `colours[k]` (RGB, 0-255). Instance data sets list only objects:
    there is no background class. `things` are the ids of countable classes in a panoptic set; `ignore` is the id in
    label maps that neither loss nor metric counts.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    things: frozenset[int] = frozenset()
    ignore: int = 255

    def __post_init__(self) -> None:
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
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
        """The labels that `to_json` wrote."""
        return cls(
            names=tuple(data["names"]),
            colours=tuple((int(r), int(g), int(b)) for r, g, b in data.get("colours", ())),
            things=frozenset(data.get("things", ())),
            ignore=int(data.get("ignore", 255)),
        )


def distinct_colours(count: int) -> tuple[Colour, ...]:
    """`count` RGB colours that are far apart: hues by the golden angle, three lightnesses in turn."""

    def colour(index: int) -> Colour:
        hue = (0.58 + index * 0.61803398875) % 1.0
        rgb = colorsys.hls_to_rgb(hue, (0.55, 0.42, 0.68)[index // 7 % 3], 0.85)
        red, green, blue = (round(255 * value) for value in rgb)
        return red, green, blue

    return tuple(colour(index) for index in range(count))


def labels_of(names: Iterable[str]) -> Labels:
    """Labels with automatic colours."""
    return Labels(tuple(names))
