"""Which pictures are for training and which for measuring."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from everymask.core.files import write_json
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.strict_json import read_strict_json
from everymask.errors import ConfigError, DataError, MachineError, printable

_HEAD = 1 << 16


def draw_split(
    dataset: Dataset, *, seed: int, fractions: Sequence[tuple[str, float]] = (("train", 0.8), ("val", 0.2))
) -> Dataset:
    """The data set with a split for each picture, for sets that bring none.

    It depends on `seed` and the pictures' ids, not on their order. Each split gets its fraction, rounded, and at least
    one picture; what is left goes to the first. Raises `ConfigError` unless the fractions are positive and add up to 1,
    and `DataError` where there are fewer pictures than splits.
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
    drawn = sorted(range(count), key=lambda row: (rng(seed, "split", dataset.records[row].id).random(), row))
    quotas = [(names[0], count - sum(later)), *zip(names[1:], later, strict=True)]
    owners = [name for name, quota in quotas for _ in range(quota)]
    split_of = dict(zip(drawn, owners, strict=True))
    records = tuple(replace(record, split=split_of[row]) for row, record in enumerate(dataset.records))
    return replace(dataset, records=records)


def write_split(path: str | Path, dataset: Dataset) -> None:
    """Write the ids of each split as JSON, whole or not at all; `DataError` if a picture has no split."""
    listed: dict[str, list[str]] = {}
    for record in dataset.records:
        if record.split is None:
            raise DataError(f"{printable(record.id)} has no split: draw one first")
        listed.setdefault(record.split, []).append(record.id)
    write_json(path, {name: sorted(ids) for name, ids in listed.items()}, indent=1)


def read_split(path: str | Path, dataset: Dataset) -> Dataset:
    """The data set with the splits that `write_split` wrote; `DataError` unless every picture stands in just one."""
    file = Path(path)
    issues = IssueLog()
    found = read_strict_json(file, issues)
    issues.finish(printable(file))
    owners: dict[str, str] = {}
    known = {record.id for record in dataset.records}
    for name, ids in found.items() if isinstance(found, dict) else ():
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
    for sample in sorted(known - set(owners)):
        issues.error("missing-picture", "the picture stands in no split", file=file, value=sample)
    issues.finish(printable(file))
    return replace(dataset, records=tuple(replace(record, split=owners[record.id]) for record in dataset.records))


def without_leaks(dataset: Dataset, issues: IssueLog) -> Dataset:
    """The data set without pictures whose file is the same, byte for byte, as one of another split.

    Each is noted as an error; of the copies, those of the last split stay. Only files of equal size are read.
    """
    order = {name: place for place, name in enumerate(("train", "val", "test"))}
    if len(dataset.splits()) < 2:
        return dataset
    by_size = defaultdict(list)
    for row, record in enumerate(dataset.records):
        by_size[_file_size(record.image)].append(row)
    dropped = set()
    for rows in _same_content(dataset, [rows for rows in by_size.values() if len(rows) > 1]):
        splits = sorted({str(dataset.records[row].split) for row in rows}, key=lambda name: (order.get(name, 1), name))
        if len(splits) < 2:
            continue
        last = next(row for row in rows if dataset.records[row].split == splits[-1])
        for row in rows:
            if dataset.records[row].split != splits[-1]:
                dropped.add(row)
                message = f"the same picture is in {dataset.records[row].split} and in {splits[-1]}"
                hint = "remove one of them: a score on pictures trained on says nothing"
                file, other = dataset.records[row].image, dataset.records[last].image
                issues.error("split-leak", message, file=file, value=str(other), hint=hint)
    return dataset.subset([row for row in range(len(dataset)) if row not in dropped]) if dropped else dataset


def _same_content(dataset: Dataset, groups: list[list[int]]) -> list[list[int]]:
    """The groups of rows, divided by their files' beginnings and then by their whole content."""
    for limit in (_HEAD, -1):
        divided = []
        for rows in groups:
            if len({dataset.records[row].split for row in rows}) < 2:
                continue
            by_content = defaultdict(list)
            for row in rows:
                by_content[_digest(dataset.records[row].image, limit)].append(row)
            divided += [same for same in by_content.values() if len(same) > 1]
        groups = divided
    return groups


def _file_size(file: Path) -> int:
    try:
        return file.stat().st_size
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
