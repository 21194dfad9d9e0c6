"""Panoptic truth: files that say of every pixel which segment it belongs to, or what is made of other truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment
from everymask.data.coding import LabelCoding, read_colours
from everymask.data.painting import lay
from everymask.data.pictures.read import read_label_map
from everymask.errors import ConfigError, DataError, listed, printable, unknown

BACKGROUND = "background"

MOST_SEGMENT = (1 << 24) - 1
"""The largest number of a segment that a colour holds."""


@dataclass(frozen=True, slots=True)
class PanopticRule:
    """Which classes of a data set of objects or label maps are things, and which are stuff, by their names.

    With one of the two alone all other classes are the other. A text that is no class may be several with commas in
    between. `stuff` may name "background", which no class has to be: then it is what no object covers.
    """

    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    strict: bool = True
    """Whether names that are no classes are refused, and classes that neither names; else these are stuff."""

    def applied(self, labels: Labels) -> Labels:
        """The labels with their things, and with a last class "background" where it is asked for.

        `ConfigError` for names that are no classes, and for classes that are both or neither.
        """
        stuff = _named(self.stuff, labels)
        if BACKGROUND in stuff and BACKGROUND not in labels.names:
            labels = Labels((*labels.names, BACKGROUND), (*labels.colours, (0, 0, 0)))
        things = _named(self.things, labels)
        for name in (*things, *stuff) if self.strict else ():
            if name not in labels.names:
                raise unknown("class", name, labels.names)
        both = [name for name in things if name in stuff]
        if both:
            raise ConfigError(f"a class is a thing or stuff, but both has {listed(both)}")
        neither = [name for name in labels.names if name not in things and name not in stuff]
        if neither and things and stuff and self.strict:
            raise ConfigError(
                f"neither a thing nor stuff: {listed(neither)}",
                hint="name these too, or leave out --stuff (or --things), so that all others are",
            )
        counted = things if things or not self.strict else neither
        return replace(labels, things=frozenset(labels.names.index(name) for name in counted if name in labels.names))


def rule_of(labels: Labels) -> PanopticRule | None:
    """As in the labels of a model, for data whose classes may be others; None where these have no things."""
    if not labels.things:
        return None
    things, stuff = (
        tuple(name for row, name in enumerate(labels.names) if (row in labels.things) == kind) for kind in (True, False)
    )
    return PanopticRule(things, stuff, strict=False)


def _named(texts: Sequence[str], labels: Labels) -> tuple[str, ...]:
    """The names that texts have, apart by commas where a text is no class."""
    parts = ([text] if text in labels.names else text.split(",") for text in texts)
    return tuple(name.strip() for part in parts for name in part if name.strip())


@dataclass(frozen=True, slots=True)
class PanopticPainting:
    """How objects, or label maps that are stored as `maps` say with the classes `source`, become segments.

    Objects of stuff lie below, those of one class as one segment, then crowds, then things, of which smaller ones hide
    larger ones; what is left is `background`, or without truth where that is None. In label maps each connected piece
    of a thing is one.
    """

    background: int | None = None
    maps: LabelCoding | None = None
    source: Labels | None = None


@dataclass(frozen=True, slots=True)
class PanopticCoding:
    """A pixel's segment is stored as a colour, its number R + 256 G + 65536 B, and 0 where there is no truth.

    Source: COCO's panoptic format (https://cocodataset.org/#format-data). With a `painting` it is made of other truth.
    Where maps are `grey` the numbers are stored as they are, less what is `added` to make 0 a segment's too, and those
    that are not listed have no truth. With `classes` only the classes of the segments count, as in a label map.
    """

    painting: PanopticPainting | None = None
    grey: bool = False
    classes: bool = False
    added: int = 0

    @property
    def stored(self) -> Any:
        """How segments are stored, as JSON."""
        if self.classes:
            return ["classes of", replace(self, classes=False).stored]
        if self.painting is None:
            numbers = ["numbers less", self.added] if self.added else "numbers"
            return numbers if self.grey else "segments"
        return ["painted", self.painting.background, None if self.painting.maps is None else self.painting.maps.stored]

    def sentence(self, labels: Labels) -> str:
        """What the files hold, for logs and tables."""
        if self.classes:
            return (
                f"label maps are the classes of segments, which are stored as {'numbers' if self.grey else 'colours'}"
            )
        things = len(labels.things)
        classes = f"of {things} countable and {len(labels) - things} other classes"
        if self.painting is None:
            return f"panoptic maps hold segments as {'numbers' if self.grey else 'colours'}, {classes}"
        if self.painting.maps is None:
            return f"panoptic maps are painted from objects, things over stuff and smaller ones over larger, {classes}"
        return f"panoptic maps are made of label maps, each connected piece of a thing by itself, {classes}"


def paint_segments(objects: InstanceSet, ignored: Masks, labels: Labels, background: int | None) -> PanopticMap:
    """The segments of objects with masks, as `PanopticPainting` says; `ignored` are regions without truth.

    Things have their places among the objects as numbers, counted from 1; what is hidden is no segment.
    """
    assert objects.masks is not None
    count = len(objects)
    crowd = np.zeros(count, np.bool_) if objects.crowd is None else objects.crowd
    thing = np.isin(objects.class_ids, list(labels.things))
    numbers = np.where(thing, np.arange(1, count + 1), count + 1 + objects.class_ids)
    ids: IntArray = np.zeros(objects.masks.size, np.int32)
    if background is not None:
        ids[:] = count + 1 + background
    for chosen in (~thing, thing & crowd):
        lay(ids, objects.masks[chosen], numbers[chosen])
    lay(ids, ignored, np.zeros(len(ignored), np.int64))
    lay(ids, objects.masks[thing & ~crowd], numbers[thing & ~crowd])
    seen = set(np.unique(ids).tolist())
    pairs = zip(numbers.tolist(), objects.class_ids.tolist(), (crowd & thing).tolist(), strict=True)
    segments = {number: Segment(number, class_id, crowd=group) for number, class_id, group in pairs}
    if background is not None:
        segments.setdefault(count + 1 + background, Segment(count + 1 + background, background))
    return PanopticMap(ids, tuple(segments[number] for number in sorted(segments) if number in seen))


def connected_segments(classes: IntArray, labels: Labels, ignore: int) -> PanopticMap:
    """The segments of a label map [H, W]: each connected piece of a thing (diagonals connect), each class of stuff."""
    ids: IntArray = np.zeros(classes.shape, np.int32)
    segments: list[Segment] = []
    for class_id in np.unique(classes).tolist():
        if class_id == ignore:
            continue
        where = classes == class_id
        pieces, count = _pieces(where) if class_id in labels.things else (where.astype(np.int32), 1)
        ids = np.where(where, pieces + len(segments), ids)
        segments += [Segment(len(segments) + 1 + piece, class_id) for piece in range(count)]
    return PanopticMap(ids, tuple(segments))


def _pieces(where: BoolArray) -> tuple[IntArray, int]:
    count, pieces = cv2.connectedComponents(where.astype(np.uint8), connectivity=8)
    return np.asarray(pieces), count - 1


def read_segments(file: Path, segments: Sequence[Segment]) -> PanopticMap:
    """The segment numbers [H, W] int32 of a file; `DataError` where it holds a number that no segment has."""
    ids = read_numbers(file)
    flat = ids.reshape(-1)
    # Neighbours mostly are of one segment, so that few pixels tell which numbers there are.
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    unknown = sorted(set(flat[starts].tolist()) - {0} - {segment.id for segment in segments})
    if unknown:
        y, x = np.argwhere(ids == unknown[0])[0].tolist()
        raise DataError(
            f"{printable(file)}: {int((ids == unknown[0]).sum()):,} pixels belong to segment {unknown[0]}, which is "
            f"not listed; the first is at x {x}, y {y}",
            hint="list every segment with its class, or paint 0 where there is no truth",
        )
    return PanopticMap(ids, tuple(segments))


def read_grey_segments(file: Path, segments: Sequence[Segment], added: int = 0) -> PanopticMap:
    """The segment numbers [H, W] int32 of a file that holds them less what is `added`; others have no truth."""
    ids = read_label_map(file).astype(np.int32) + added
    ids[~np.isin(ids, [one.id for one in segments])] = 0
    return PanopticMap(ids, tuple(segments))


def read_numbers(file: Path) -> IntArray:
    """The numbers [H, W] int32 that the colours of a file stand for; `DataError` as `read_colours`."""
    return numbers_of(read_colours(file))


def numbers_of(colours: ByteArray) -> IntArray:
    """The numbers [H, W] int32 that colours [H, W, 3] stand for: R + 256 G + 65536 B."""
    padded = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2RGBA)
    ids: IntArray = np.asarray(padded).view("<i4")[..., 0].astype(np.int32, copy=False)
    # The fourth byte is the opacity that OpenCV has put there.
    ids &= MOST_SEGMENT
    return ids


def colours_of(ids: IntArray) -> ByteArray:
    """Segment numbers [H, W] as the colours [H, W, 3] that `read_numbers` reads; `DataError` for more than 24 bits."""
    lowest, most = (int(find(initial=0)) for find in (ids.min, ids.max))
    if lowest < 0 or most > MOST_SEGMENT:
        raise DataError(f"colours hold the numbers 0 to {MOST_SEGMENT:,} of segments, but there is {lowest or most:,}")
    return np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
