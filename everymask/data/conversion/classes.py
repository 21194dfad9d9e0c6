"""Other classes for a data set: renamed, joined, left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from everymask.core.labels import Labels
from everymask.data.change.coding import ChangeCoding
from everymask.data.coding import LabelCoding
from everymask.data.dataset import Dataset, panoptic_refused
from everymask.data.painting import Painting
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import LabelMapFile, Objects, Record
from everymask.errors import ConfigError, printable, unknown

_FIRST = ("train", "val", "test")
Table = Sequence[int | None]
"""What each class becomes: its new id, or None where it is left out."""


def change_classes(dataset: Dataset, changes: Mapping[str, str]) -> Dataset:
    """The data set with the classes of `changes` (name -> new name) renamed; those that get one name are one class.

    All changes are made at once, so that two classes can swap their names. An empty new name leaves the class out: its
    objects are gone, and what label maps have of it is without truth. The order of the classes stays, by the first of
    those that are joined, which gives the colour too.

    `ConfigError` for a class that there is not, where no class is left, and for a panoptic data set.
    """
    names = dataset.labels.names
    for name in changes:
        if name not in names:
            raise unknown("a class that is changed", name, names)
    wanted = [changes.get(name, name).strip() for name in names]
    kept = list(dict.fromkeys(name for name in wanted if name))
    if not kept:
        raise ConfigError(f"all classes of {printable(dataset.root)} are left out", hint="keep one of them")
    colours = [dataset.labels.colours[wanted.index(name)] for name in kept]
    table = [kept.index(name) if name else None for name in wanted]
    things = {new for old, new in enumerate(table) if new is not None and old in dataset.labels.things}
    return relabelled(dataset, Labels(tuple(kept), tuple(colours), frozenset(things)), table)


def relabelled(dataset: Dataset, labels: Labels, table: Table) -> Dataset:
    """The data set in other `labels`, whose class `k` has become `table[k]`.

    `ConfigError` for a panoptic data set, and where the background of painted label maps is left out.
    """
    match dataset.coding:
        case None:
            records = tuple(_with_objects(record, table) for record in dataset.records)
            return replace(dataset, labels=labels, records=records)
        case Painting(classes, background):
            ground = table[background]
            if ground is None:
                name = printable(dataset.labels.names[background])
                raise ConfigError(
                    f"{name} is what label maps hold where no object is, and cannot be left out",
                    hint="leave out classes of objects, or join them with it",
                )
            painted = [table[name] for name in classes]
            records = tuple(_with_objects(record, painted) for record in dataset.records)
            coding = Painting(tuple(range(len(labels))), ground)
            return replace(dataset, labels=labels, records=records, coding=coding)
        case LabelCoding() as coding:
            rows = tuple((value, None if name is None else table[name]) for value, name in coding.table)
            records = tuple(_with_pixels(record, table, len(labels)) for record in dataset.records)
            return replace(dataset, labels=labels, records=records, coding=replace(coding, table=rows))
        case ChangeCoding(maps, both):
            found = relabelled(replace(dataset, coding=maps), labels, table)
            coded = found.coding
            assert isinstance(coded, LabelCoding | Painting)
            return replace(found, coding=ChangeCoding(coded, both))
        case PanopticCoding():
            raise panoptic_refused(dataset, "given other classes")
        case _:
            assert_never(dataset.coding)


def _with_objects(record: Record, table: Table) -> Record:
    if not isinstance(record.truth, Objects):
        return record
    found = [(annotation, table[annotation.class_id]) for annotation in record.truth.annotations]
    kept = tuple(replace(annotation, class_id=name) for annotation, name in found if name is not None)
    return replace(record, truth=replace(record.truth, annotations=kept))


def _with_pixels(record: Record, table: Table, count: int) -> Record:
    """The picture with the pixels of each of `count` classes, where they are counted."""
    if not isinstance(record.truth, LabelMapFile) or not record.truth.pixels:
        return record
    pixels = [0] * count
    for old, number in enumerate(record.truth.pixels):
        new = table[old]
        if new is not None:
            pixels[new] += number
    return replace(record, truth=replace(record.truth, pixels=tuple(pixels)))


def pictures_by_class(dataset: Dataset) -> dict[str, dict[str, int]]:
    """How many pictures show each class in each split (train, val and test first), or in `"all"`.

    Where the pixels of label maps are not counted, that is 0.
    """
    brought = dataset.splits()
    columns = [name for name in _FIRST if name in brought] + [name for name in brought if name not in _FIRST]
    columns = columns or ["all"]
    table = {name: dict.fromkeys(columns, 0) for name in dataset.labels.names}
    for record in dataset.records:
        shown = record.truth.classes
        if isinstance(dataset.coding, Painting):
            shown = frozenset({dataset.coding.background, *(dataset.coding.classes[name] for name in shown)})
        for name in shown:
            row = table[dataset.labels.names[name]]
            row[record.split or "all"] = row.get(record.split or "all", 0) + 1
    return table
