"""What the doctor found, as numbers, names and texts: the one source of the terminal's table, the JSON and the page."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from everymask.data.doctor.treatment import Treatment
from everymask.errors import Issue

SCHEMA = 1
"""The version of the JSON form; it grows when a key changes its meaning or goes, not when one is added."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """One value that label maps hold: as people write it, the class it was taken for ("" where it stands for no truth
    or nothing), its pixels, and how many of the maps looked at have it.
    """

    value: str
    taken_for: str
    pixels: int
    maps: int


@dataclass(frozen=True, slots=True)
class NearPictures:
    """Pictures (files) that look alike, and the splits that they lie in ("" without splits): several are a leak."""

    files: tuple[str, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers that `everymask check` and its page show.

    `sizes` are (H, W): the smallest and the largest by area, the median of each side, and the commonest with its
    number. `pixels` counts pictures by channels and depth, as `"3 x uint8"`. `classes` counts objects by class and
    split (`"all"` where there are none). `per_picture` and `areas` (pixels) are quantiles, empty without objects.
    `histograms` counts pictures, or objects, by ranges of what the key names. Polygon areas are the outlines' own, so
    overlapping parts of one object count twice.

    `geometry` counts the objects that were drawn to look at them (`"looked at"`), and of them those in several parts,
    with holes, that share pixels with another, that touch the picture's border, and that have fewer than 16 pixels.

    Of a panoptic data set `objects` and `classes` count segments, and `encoding`, `shares` and `no_truth` are as of a
    semantic one, in the `maps_decoded` maps that were decoded.

    Of a semantic data set `encoding` says what the label maps hold, `values` each value found in the `maps_decoded`
    maps that were decoded, `shares` by class and split the part of the pixels with truth (where label maps are painted
    from objects, of a sample of 50 pictures), and `no_truth` the part of all pixels that have none; `empty` counts
    pictures without any truth, and nothing is said of objects.

    `issues` are all that are kept (1,000 of each severity from the reader, and so many from the doctor), errors first;
    `treatments` say by kind what training does with them, `near` which pictures look alike. `not_annotated` counts
    pictures of which nothing is known; they are in no other number. `not_looked_at` says what was left undone.
    `two_dates` says that pictures are of two dates, and label maps of what changed.
    """

    format: str
    root: str
    pictures: int
    empty: int
    objects: int
    crowd: int
    boxes_only: bool
    splits: dict[str, int]
    sizes: dict[str, tuple[int, ...]]
    pixels: dict[str, int]
    classes: dict[str, dict[str, int]]
    per_picture: dict[str, float]
    areas: dict[str, float]
    histograms: dict[str, dict[str, int]]
    num_errors: int
    num_warnings: int
    issues: tuple[Issue, ...]
    treatments: tuple[Treatment, ...]
    geometry: dict[str, int] = field(default_factory=dict)
    near: tuple[NearPictures, ...] = ()
    encoding: str = ""
    values: tuple[StoredValue, ...] = ()
    maps_decoded: int = 0
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    no_truth: float = 0.0
    not_annotated: int = 0
    not_looked_at: tuple[str, ...] = ()
    two_dates: bool = False

    @property
    def task(self) -> str:
        """What a training learns from it: `panoptic` from segments, `change` from two dates, `semantic` from label
        maps, else `instance`.
        """
        if self.two_dates:
            return "change"
        if self.encoding and self.classes:
            return "panoptic"
        return "semantic" if self.encoding else "instance"

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and texts."""
        sizes = {name: list(size) for name, size in self.sizes.items()}
        return {"schema": SCHEMA, "task": self.task, **asdict(self), "sizes": sizes}
