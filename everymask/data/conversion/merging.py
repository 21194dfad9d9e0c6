"""Several data sets in one: classes joined by name, pictures of one name told apart, pictures of one content said."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from everymask.core.labels import Labels
from everymask.data.conversion.classes import relabelled
from everymask.data.conversion.staging import staged
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Record
from everymask.data.splits import same_pictures
from everymask.errors import ConfigError, DataError, Issue, counted, printable


def merge_datasets(
    datasets: Sequence[Dataset],
    folder: Path,
    *,
    splits_follow: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """All pictures of the data sets, in their order, with the classes that any of them has.

    Classes are joined by name, in the order in which they are met. A picture's id that stands in several data sets gets
    the name of its data set in front. Label maps that store classes in different ways are written anew into `folder`,
    as class ids. `issues` has those of all, and warnings about pictures that are in several of the data sets and about
    class names that differ in letter case alone.

    `ConfigError` where some have objects and others label maps, some have splits and others none (unless new ones
    follow: `splits_follow`), and for panoptic data sets; `DataError` where some have boxes and others masks.
    """
    _check_alike(datasets, splits_follow)
    labels = _joined_labels([dataset.labels for dataset in datasets])
    rows = {_composed(name): row for row, name in enumerate(labels.names)}
    parts = [
        relabelled(dataset, labels, [rows[_composed(name)] for name in dataset.labels.names]) for dataset in datasets
    ]
    if any(part.coding != parts[0].coding for part in parts):
        parts = [staged(part, folder / str(row), progress=progress) for row, part in enumerate(parts)]
    records = tuple(record for part in _with_own_names(parts) for record in part)
    formats = "+".join(dict.fromkeys(dataset.format for dataset in datasets))
    boxes_only = any(part.boxes_only for part in parts)
    made = replace(parts[0], records=records, format=formats, issues=(), boxes_only=boxes_only)
    return replace(made, issues=(*(issue for part in parts for issue in part.issues), *_noted(made, parts)))


def _check_alike(datasets: Sequence[Dataset], splits_follow: bool) -> None:
    """Refuse data sets that cannot be one."""
    kinds = {dataset.kind: dataset for dataset in datasets}
    if len(kinds) > 1:
        listed = " and ".join(f"{printable(dataset.root)} ({kind})" for kind, dataset in kinds.items())
        raise ConfigError(
            f"objects and label maps cannot be one data set, but got {listed}",
            hint="--to-semantic paints label maps of the objects",
        )
    boxes = {dataset.boxes_only for dataset in datasets if any(record.truth.annotations for record in dataset.records)}
    if len(boxes) > 1:
        boxed = next(dataset for dataset in datasets if dataset.boxes_only)
        raise DataError(
            f"{printable(boxed.root)} has boxes only, while others have masks",
            hint="draw outlines there too, or leave it out",
        )
    with_splits = [bool(dataset.splits()) for dataset in datasets]
    if len(set(with_splits)) > 1 and not splits_follow:
        bare = datasets[with_splits.index(False)]
        brought = datasets[with_splits.index(True)]
        raise ConfigError(
            f"{printable(brought.root)} has the splits {', '.join(brought.splits())}, and {printable(bare.root)} none",
            hint="--split 80/10/10 draws new ones for all pictures",
        )


def _joined_labels(many: Sequence[Labels]) -> Labels:
    """The classes of all, each once; names that differ only in Unicode form are one."""
    names: dict[str, tuple[str, tuple[int, int, int], bool]] = {}
    for labels in many:
        for row, (name, colour) in enumerate(zip(labels.names, labels.colours, strict=True)):
            names.setdefault(_composed(name), (name, colour, row in labels.things))
    found = list(names.values())
    same = all(labels.names == many[0].names for labels in many)
    colours = tuple(colour for _, colour, _ in found) if same else ()  # automatic ones of several sets may be alike
    things = frozenset(row for row, (_, _, thing) in enumerate(found) if thing)
    return Labels(tuple(name for name, _, _ in found), colours, things)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _with_own_names(parts: Sequence[Dataset]) -> list[list[Record]]:
    """The records of each data set; an id that stands in several gets the data set's name in front."""
    folders = [part.root.resolve() for part in parts]
    called = [folder.stem if folder.suffix else folder.name for folder in folders]
    repeats = Counter(called)
    seen: Counter[str] = Counter()
    owners = Counter(record.id.casefold() for part in parts for record in part.records)
    taken = {name for name, count in owners.items() if count == 1}
    found: list[list[Record]] = []
    for part, name in zip(parts, called, strict=True):
        seen[name] += 1
        front = f"{name}{seen[name]}" if repeats[name] > 1 else name
        renamed = []
        for record in part.records:
            own = record.id
            if owners[own.casefold()] > 1:
                own, number = f"{front}-{record.id}", 1
                while own.casefold() in taken:
                    number += 1
                    own = f"{front}-{record.id}-{number}"
                taken.add(own.casefold())
            renamed.append(replace(record, id=own))
        found.append(renamed)
    return found


def _noted(made: Dataset, parts: Sequence[Dataset]) -> tuple[Issue, ...]:
    """Warnings about what is in several of the data sets, and about class names that are nearly the same."""
    issues = IssueLog()
    owners = [row for row, part in enumerate(parts) for _ in part.records]
    several = [rows for rows in same_pictures(made) if len({owners[row] for row in rows}) > 1]
    if several:
        first, second = (made.records[row].image for row in several[0][:2])
        message = (
            f"{counted(len(several), 'picture')} of several of the data sets are the same, byte for byte; all stay"
        )
        hint = "their annotations stay apart: leave a copy out if it says the same"
        issues.warn("same-picture", message, file=first, value=str(second), hint=hint)
    folded: dict[str, str] = {}
    for name in made.labels.names:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            message = f"the classes {printable(other)} and {printable(name)} differ in letter case alone; they are two"
            issues.warn("similar-classes", message, hint=f"--classes {printable(name)}:{printable(other)} joins them")
    return issues.noted()
