"""The pictures of a training: read, compared with those it began with, and divided into train and validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from everymask.core.json.sealed import read_sealed
from everymask.core.segmentation import TaskName
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.identity.changes import Change, Kind, changes, class_change
from everymask.data.identity.content import DATA, Held, Identity, identity_of, see_dataset
from everymask.data.identity.files import Mark
from everymask.data.records import NotAnnotated, Record
from everymask.data.splits import draw_split, read_split
from everymask.errors import ConfigError, DataError, Issue, counted, listed, printable
from everymask.settings.config import TrainConfig, config_from_json
from everymask.train.folder.given import Given, bring_back, read_held
from everymask.train.folder.layout import CONFIG, SPLITS
from everymask.train.folder.logs import reading_bar

_VALIDATION = ("val", "valid", "validation")
_WORDS: dict[Kind, tuple[str, str]] = {
    "picture changed": ("picture file", "changed"),
    "truth changed": ("truth", "changed"),
    "removed": ("picture", "gone"),
}


def read_pictures(config: TrainConfig, task: TaskName | None, screen: Console) -> Dataset:
    """The data set of `config` for a task (None: as annotated).

    To leave out what is damaged, all pictures are decoded before the first step.
    """
    with reading_bar(screen, "decoding") as move:
        return read_dataset(
            config.data,
            format=config.format,
            task=task,
            images=config.images,
            policy=config.on_defect,
            crowds=config.crowds,
            masks=config.masks,
            mask_threshold=config.mask_threshold,
            rule=config.rule,
            decode=config.on_defect == "skip",
            progress=move,
        )


def read_run_pictures(folder: Path, task: TaskName | None) -> Dataset | None:
    """The pictures of the run in a folder, where its data still lie where training found them; None: it is no run's.

    `EverymaskError`, `OSError` or `ValueError` where they cannot be read.
    """
    if not (folder / CONFIG).is_file():
        return None
    return read_pictures(config_from_json(read_sealed(folder / CONFIG)), task, Console(quiet=True))


def divided(pictures: Dataset, config: TrainConfig) -> Dataset:
    """The pictures with the splits they bring; where train or validation is missing there, drawn by the seed.

    `DataError` and `ConfigError` for splits that leave pictures over, or none to train on.
    """
    brought = pictures.splits()
    loose = len(pictures) - sum(brought.values())
    if brought and loose:
        raise DataError(
            f"{printable(config.data)}: {counted(loose, 'picture')} without a split, while others belong to "
            f"{', '.join(brought)}",
            hint="put every picture into train, val or test, or bring no splits at all",
        )
    if brought and "train" not in brought:
        raise ConfigError(
            f"{printable(config.data)} has no pictures for training; its splits are {', '.join(brought)}",
            hint="name one of its splits train, or give a data set without splits",
        )
    if any(name in brought for name in _VALIDATION):
        return pictures
    shares = [("val", config.val_fraction), ("test", 0.0 if set(brought) - {"train"} else config.test_fraction)]
    shares = [(name, share) for name, share in shares if share]
    fractions = [("train", 1 - sum(share for _, share in shares)), *shares]
    drawn = draw_split(pictures.split("train") if brought else pictures, seed=config.seed, fractions=fractions)
    others = tuple(record for record in pictures.records if record.split not in (None, "train"))
    return replace(drawn, records=(*drawn.records, *others))


def validation(pictures: Dataset) -> Dataset | None:
    """The pictures that validate."""
    name = validation_name(pictures.splits())
    return pictures.split(name) if name else None


def validation_name(splits: Iterable[str | None]) -> str | None:
    """Which of the splits validates."""
    known = set(splits)
    return next((name for name in _VALIDATION if name in known), None)


def seen(pictures: Dataset, screen: Console, known: Mapping[Mark, str] | None = None) -> Given:
    """The pictures with what they hold. Files whose marks are `known` are not read."""
    with reading_bar(screen, "digests of the data") as move:
        files = see_dataset(pictures, known or {}, progress=move)
    return Given(pictures, identity_of(pictures, files), files)


def gone_on_with(pictures: Dataset, folder: Path, screen: Console) -> tuple[Given, tuple[str, ...]]:
    """The pictures that the run in `folder` began with, in the order and the splits that they had, and what to say.

    `DataError` lists what those that train or validate hold other than then. What is new, or changed where it plays
    no part, is only said.
    """
    held = read_held(folder)
    if held is None:
        note = f"there is no {DATA}: whether the data are those that the run began with cannot be said before now"
        return seen(read_split(folder / SPLITS, pictures), screen), (note,)
    before, known = held
    now, names = _called_as(before, seen(pictures, screen, known))
    found = {record.id: record for record in now.pictures.records}
    listed_before = tuple(found.get(name, _gone(name)) for name in before.held)
    drawn = read_split(folder / SPLITS, replace(pictures, records=listed_before))
    splits = {record.id: record.split for record in drawn.records}
    changed = list(changes(before, now.identity))
    used = {"train", validation_name(splits.values())}
    refused = [change for change in changed if splits.get(change.id) in used]
    other_classes = class_change(before.classes, now.identity.classes)
    if refused or other_classes:
        raise _refusal(refused, other_classes, splits, found, folder)
    kept = replace(drawn, records=tuple(record for record in drawn.records if record.id in found))
    return Given(kept, before, now.seen), (*names, *_remarks(changed, splits, before, now.pictures))


def _called_as(before: Identity, now: Given) -> tuple[Given, tuple[str, ...]]:
    """The pictures, those with another name called what they were called before, and a line about them.

    They are known by what they hold. Ids tell files of one name apart by their folders, so that a picture can come to
    another id because another one went.
    """
    new = {_key(held): name for name, held in now.identity.held.items() if name not in before.held}
    lost = [(name, held) for name, held in before.held.items() if name not in now.identity.held]
    names = {other: name for name, held in lost if (other := new.pop(_key(held), None)) is not None}
    if not names:
        return now, ()
    records = tuple(replace(record, id=names.get(record.id, record.id)) for record in now.pictures.records)
    identity = replace(now.identity, held={names.get(name, name): held for name, held in now.identity.held.items()})
    pairs = listed(f"{new} (before: {old})" for new, old in names.items())
    line = f"{counted(len(names), 'picture')} with other names and what they held before: {pairs}"
    return Given(replace(now.pictures, records=records), identity, now.seen), (line,)


def _key(held: Held) -> tuple[str, tuple[tuple[str, str], ...]]:
    return held.picture, tuple(sorted(held.truth.items()))


def _gone(name: str) -> Record:
    return Record(name, Path(), (0, 0), NotAnnotated())


def _refusal(
    changed: Sequence[Change],
    other_classes: str,
    splits: Mapping[str, str | None],
    found: Mapping[str, Record],
    folder: Path,
) -> DataError:
    parts = [other_classes] if other_classes else []
    kinds = Counter(change.kind for change in changed)
    for kind, count in kinds.items():
        by_split = Counter(splits[change.id] for change in changed if change.kind == kind)
        where = ", ".join(f"{number} in {name}" for name, number in by_split.items())
        noun, verb = _WORDS[kind]
        parts.append(f"{counted(count, noun)} {verb} ({where})")
    issues = [
        Issue(
            change.kind.replace(" ", "-"),
            change.what,
            file=str(found[change.id].image) if change.id in found else change.id,
            where=str(splits[change.id]),
        )
        for change in changed
    ]
    return DataError(
        f"the data are not those that this run began with: {'; '.join(parts)}",
        hint=bring_back(folder),
        issues=issues,
    )


def _remarks(
    changed: Sequence[Change], splits: Mapping[str, str | None], before: Identity, pictures: Dataset
) -> tuple[str, ...]:
    """What is other than before and does not matter to the run, with the reason why."""
    notes = []
    added = [change.id for change in changed if change.kind == "added"]
    if added:
        new = f"{counted(len(added), 'picture')} came to the data and {'is' if len(added) == 1 else 'are'} left out"
        notes.append(f"{new}, for the run goes on with those it began with: {listed(added)}")
    others = {change.id: splits[change.id] for change in changed if change.kind != "added"}
    if others:
        names = listed(sorted({str(name) for name in others.values()}))
        count = counted(len(others), "picture")
        notes.append(f"{count} of {names}, which the run neither learns nor validates on, changed: {listed(others)}")
    order = [record.id for record in pictures.records if splits.get(record.id) == "train"]
    if order != [name for name in before.held if splits[name] == "train"]:
        notes.append("the pictures come in another order: the run keeps that in which it began")
    return tuple(notes)
