"""Pictures in a data set that nobody has annotated yet: they are kept, and told apart from those that show nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from everymask.data.formats.folders import unique_ids
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import read_headers
from everymask.data.records import NotAnnotated, Record


@dataclass(frozen=True, slots=True)
class Loose:
    """A picture without annotation, and its split."""

    picture: Path
    split: str | None = None


def loose_records(loose: Sequence[Loose], taken: Iterable[str], root: Path, issues: IssueLog) -> list[Record]:
    """The records of pictures that are not annotated; their ids are none of `taken`, which annotated pictures have.

    Those that cannot be read are left out, and `issues` is warned about them: nothing is lost by that.
    """
    found, known = IssueLog("skip"), set(taken)
    files = [item.picture for item in loose]
    headers = read_headers(files, found)
    issues.warn_of(found, "the picture is not annotated, and is left out")
    records = []
    for item, name, header in zip(loose, unique_ids(files, root), headers, strict=True):
        numbers = (name if number == 1 else f"{name}-{number}" for number in range(1, len(known) + 2))
        free = next(number for number in numbers if number not in known)
        known.add(free)
        if header is not None:
            records.append(Record(free, item.picture, header.size, NotAnnotated(), item.split))
    return records
