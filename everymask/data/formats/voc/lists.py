"""The lists in Pascal VOC's ImageSets: which pictures there are, and in which split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from everymask.data.formats.finding.named import folded
from everymask.data.formats.folders import files_in, read_lines
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import SUFFIXES

_NO_SPLIT = ("trainval", "default")
_CLASS_ROW = re.compile(r"\S.*\s(-1|0|1)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed picture, its split (None where only `trainval` or `default` lists it), and the list's line."""

    stem: str
    split: str | None
    where: str


def read_lists(folder: Path, issues: IssueLog) -> list[Entry]:
    """The pictures that the lists in `folder` name, in their order; none if there are no lists.

    Lists of one class, with 1, 0 or -1 after each name, are passed over. Noted as errors are paths that lead elsewhere,
    a name that stands twice in a list, and a picture in two splits. Blank lines, comments and CRLF do no harm.
    """
    entries: dict[str, Entry] = {}
    files = files_in(folder, (".txt",))
    for file in sorted(files, key=lambda file: (file.stem in _NO_SPLIT, file.stem)):
        lines = read_lines(file, issues) or []
        if lines and all(_CLASS_ROW.fullmatch(line) for _, line in lines):
            continue
        split = None if file.stem in _NO_SPLIT else file.stem
        seen: set[str] = set()
        for number, line in lines:
            stem = _stem(line)
            where = f"{folder.name}/{file.name} line {number}"
            if stem is None:
                hint = "list names without folders and endings"
                issues.error("list-path", "expected a name", file=file, where=f"line {number}", value=line, hint=hint)
            elif stem in seen:
                message = "the picture stands twice in the list"
                issues.error("list-repeated", message, file=file, where=f"line {number}", value=stem)
            elif stem in entries and split is not None:
                message = f"the picture is in two splits, {entries[stem].split} and {split}"
                issues.error(
                    "split-leak", message, file=file, where=f"line {number}", value=stem, hint="remove it from one"
                )
            else:
                entries.setdefault(stem, Entry(stem, split, where))
            seen.add(stem or "")
    return list(entries.values())


def spelled_as(entries: Iterable[Entry], stems: Iterable[str]) -> list[Entry]:
    """The entries under the names of files, where theirs differ only in letter case or Unicode form."""
    known = set(stems)
    alike: dict[str, list[str]] = {}
    for stem in known:
        alike.setdefault(folded(stem), []).append(stem)
    listed = []
    for entry in entries:
        others = alike.get(folded(entry.stem), [])
        listed.append(replace(entry, stem=others[0]) if entry.stem not in known and len(others) == 1 else entry)
    return listed


def _stem(line: str) -> str | None:
    """The listed name without a picture's ending; None where it leads to another folder."""
    if any(sign in line for sign in "/\\\0") or line in (".", ".."):
        return None
    return line[: -len(Path(line).suffix)] if Path(line).suffix.lower() in SUFFIXES else line
