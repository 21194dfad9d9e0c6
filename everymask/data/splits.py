"""Which pictures are for training and which for measuring: one way for training and for `everymask convert --split`."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from everymask.core.files import write_json
from everymask.core.json.sealed import sealed, unsealed
from everymask.core.randomness import rng
from everymask.data.change.scenes import crops_of_scenes
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Record
from everymask.data.stratification import Group, deal
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import ConfigError, DataError, MachineError, counted, printable

_HEAD = 1 << 16


def draw_split(
    dataset: Dataset,
    *,
    seed: int,
    fractions: Sequence[tuple[str, float]] = (("train", 0.8), ("val", 0.2)),
    group_of: Callable[[Record], str] | None = None,
) -> Dataset:
    """The data set with a split for each picture.

    It depends on `seed` and the pictures' ids, not on their order. Pictures that are the same, byte for byte, come into
    the same split, and so do crops of one scene at two dates, and those to which `group_of` gives one text. Each split
    gets its fraction, rounded as well as these allow, and at least one picture; what is left goes to the first. Where
    some pictures show other classes than others, every class gets its share in each split too (`stratification`), as
    far as that is known without decoding.

    Raises `ConfigError` unless the fractions are positive and add up to 1, and `DataError` where there are fewer
    different pictures, or groups, than splits.
    """
    names = [name for name, _ in fractions]
    shares = [share for _, share in fractions]
    if len(set(names)) != len(names) or not names or min(shares) <= 0 or not math.isclose(sum(shares), 1):
        raise ConfigError(f"expected splits with different names and fractions that add up to 1, but got {fractions}")
    count = len(dataset)
    if count < len(names):
        raise DataError(
            f"{printable(dataset.root)}: cannot draw {' and '.join(names)} from {count} picture{'s' * (count != 1)}",
            hint="annotate more pictures, or bring a data set with its own splits",
        )
    later = [max(1, round(share * count)) for share in shares[1:]]
    while sum(later) >= count:
        later[later.index(max(later))] -= 1
    room = dict(zip(names, (count - sum(later), *later), strict=True))
    groups = _groups(dataset, group_of)
    if len(groups) < len(names):
        some = (
            f"of which only {len(groups)} differ{'s' * (len(groups) == 1)}"
            if group_of is None
            else f"that make only {counted(len(groups), 'group')}"
        )
        raise DataError(
            f"{printable(dataset.root)}: cannot draw {' and '.join(names)} from {count} pictures {some}",
            hint="annotate more pictures, or bring a data set with its own splits",
        )

    def draw(group: list[int]) -> tuple[float, str]:
        first = min(dataset.records[row].id for row in group)
        return float(rng(seed, "split", first).random()), first

    drawn = sorted(groups, key=draw)
    shown = [record.truth.classes for record in dataset.records]
    if len(set(shown)) > 1:
        owners = deal([Group.of(rows, shown) for rows in drawn], fractions, list(room.values()))
    else:
        owners = _in_turn(drawn, room)
    records = tuple(replace(record, split=owners[row]) for row, record in enumerate(dataset.records))
    return replace(dataset, records=records)


def _in_turn(groups: Sequence[list[int]], room: dict[str, int]) -> dict[int, str]:
    """The split of each row: the splits are filled one after the other, each with as many pictures as have room."""
    owners: dict[int, str] = {}
    names = list(room)
    empty = list(names)
    for place, group in enumerate(groups):
        fitting = [name for name in names if room[name] >= len(group)]
        wanted = empty if len(groups) - place == len(empty) else fitting or empty or [max(names, key=room.__getitem__)]
        name = wanted[0]
        room[name] -= len(group)
        empty = [other for other in empty if other != name]
        owners |= dict.fromkeys(group, name)
    return owners


def _groups(dataset: Dataset, group_of: Callable[[Record], str] | None) -> list[list[int]]:
    """All rows, those of equal pictures and of one scene together, and those of one key."""
    joined = list(range(len(dataset)))

    def first(row: int) -> int:
        while joined[row] != row:
            joined[row] = row = joined[joined[row]]
        return row

    together = same_pictures(dataset) + list(crops_of_scenes(dataset).values())
    if group_of is not None:
        keyed: dict[str, list[int]] = {}
        for row, record in enumerate(dataset.records):
            keyed.setdefault(group_of(record), []).append(row)
        together += keyed.values()
    for rows in together:
        for row in rows[1:]:
            joined[first(row)] = first(rows[0])
    groups: dict[int, list[int]] = {}
    for row in range(len(dataset)):
        groups.setdefault(first(row), []).append(row)
    return list(groups.values())


def write_split(path: str | Path, dataset: Dataset) -> None:
    """Write the ids of each split as JSON, whole or not at all; `DataError` if a picture has no split."""
    listed: dict[str, list[str]] = {}
    for record in dataset.records:
        if record.split is None:
            raise DataError(f"{printable(record.id)} has no split: draw one first")
        listed.setdefault(record.split, []).append(record.id)
    write_json(path, sealed({name: sorted(ids) for name, ids in listed.items()}), indent=1)


def read_split(path: str | Path, dataset: Dataset) -> Dataset:
    """The data set with the splits that `write_split` wrote; `DataError` unless every picture stands in just one, and
    where the file is not as it was written.

    Pictures that are not annotated may stand in none, and then have no split.
    """
    file = Path(path)
    issues = IssueLog()
    found = read_strict_json(file, issues)
    if found is not None:
        try:
            found = unsealed(found) if isinstance(found, dict) else {}
        except ValueError as error:
            hint = "bring it back as it was; where it was edited on purpose, take its checksum out"
            issues.error("split-file", str(error), file=file, hint=hint)
    issues.finish(printable(file))
    owners: dict[str, str] = {}
    known = {record.id for record in dataset.records}
    for name, ids in found.items():
        for place, sample in enumerate(ids if isinstance(ids, list) else [ids]):
            where = f"/{name}/{place}"
            if not isinstance(sample, str) or sample not in known:
                issues.error(
                    "unknown-picture", "no picture of the data set has this id", file=file, where=where, value=sample
                )
            elif sample in owners:
                message = f"the picture stands in {owners[sample]} already"
                issues.error("repeated-picture", message, file=file, where=where, value=sample)
            else:
                owners[sample] = name
    expected = {record.id for record in dataset.records if record.annotated}
    for sample in sorted(expected - set(owners)):
        issues.error("missing-picture", "the picture stands in no split", file=file, value=sample)
    issues.finish(printable(file))
    return replace(dataset, records=tuple(replace(record, split=owners.get(record.id)) for record in dataset.records))


def without_leaks(dataset: Dataset, issues: IssueLog) -> Dataset:
    """The data set without pictures whose file is the same, byte for byte, as one of another split.

    Each is noted as an error; of the copies, those of the last split stay. Only files of equal size are read. Crops of
    one scene in several splits are noted as a warning: only their names say so.
    """
    order = {name: place for place, name in enumerate(("train", "val", "test"))}
    if len(dataset.splits()) < 2:
        return dataset
    dropped = set()
    for rows in same_pictures(dataset, across_splits=True):
        splits = sorted({str(dataset.records[row].split) for row in rows}, key=lambda name: (order.get(name, 1), name))
        last = next(row for row in rows if dataset.records[row].split == splits[-1])
        for row in rows:
            if dataset.records[row].split != splits[-1]:
                dropped.add(row)
                message = f"the same picture is in {dataset.records[row].split} and in {splits[-1]}"
                hint = "remove one of them: a score on pictures trained on says nothing"
                file, other = dataset.records[row].image, dataset.records[last].image
                issues.error("split-leak", message, file=file, value=str(other), hint=hint)
    for scene, rows in crops_of_scenes(dataset).items():
        names = {str(dataset.records[row].split) for row in rows}
        if len(names) > 1:
            message = f"crops of the scene {printable(scene)} are in {' and '.join(sorted(names))}"
            hint = "put them into one split: a score on a scene that was trained on promises too much"
            issues.warn("scene-leak", message, file=dataset.records[rows[0]].image, hint=hint)
    return dataset.subset([row for row in range(len(dataset)) if row not in dropped]) if dropped else dataset


def same_pictures(dataset: Dataset, *, across_splits: bool = False) -> list[list[int]]:
    """The rows of pictures whose files are the same, byte for byte, in groups of two or more; ascending in each.

    With `across_splits` only groups that have rows of several splits. Pictures that are not annotated are left aside:
    nothing is learned from them and no score is taken on them. Compared are the sizes, then the beginnings, then
    all bytes, always only where what came before is the same. A file that is not there equals no other.
    """

    def wanted(rows: list[int]) -> bool:
        return len(rows) > 1 and (not across_splits or len({dataset.records[row].split for row in rows}) > 1)

    states = {
        row: state
        for row, record in enumerate(dataset.records)
        if record.annotated and (state := _state(record.image)) is not None
    }
    by_size = defaultdict(list)
    for row, state in states.items():
        by_size[state.st_size].append(row)
    groups = list(by_size.values())
    for limit in (_HEAD, -1):
        groups = [same for rows in groups if wanted(rows) for same in _by_content(dataset, states, rows, limit)]
    return [rows for rows in groups if wanted(rows)]


def _by_content(
    dataset: Dataset, states: Mapping[int, os.stat_result], rows: list[int], limit: int
) -> Iterable[list[int]]:
    """The rows, divided by the first `limit` bytes of their files (-1: all)."""
    found = defaultdict(list)
    known: dict[tuple[int, int], bytes] = {}  # a file may be linked under many names
    for row in rows:
        state = states[row]
        inode = (state.st_dev, state.st_ino) if state.st_ino else (-1, row)
        if inode not in known:
            known[inode] = _digest(dataset.records[row].image, limit)
        found[known[inode]].append(row)
    return found.values()


def _state(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MachineError(f"cannot read {printable(file)}: {error.strerror or error}") from error


def _digest(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            if limit >= 0:
                return hashlib.blake2b(stream.read(limit)).digest()
            return hashlib.file_digest(stream, "blake2b").digest()
    except OSError as error:
        raise MachineError(f"cannot read {printable(file)}: {error.strerror or error}") from error
