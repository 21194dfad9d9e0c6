"""Which pictures show one place at two dates, and which label says what changed there: by folders and file names.

A/X.png        B/X.png         label/X.png     two folders of dates and one of labels, of one name but for endings;
train/A/X.png  train/B/X.png   train/label/X   splits above the folders, or below them (A/train/X.png)
list/train.txt, train.txt                      the splits of flat folders: a name per line

A, B        LEVIR-CD, WHU-CD, CDD (OUT)        time1, time2     SYSU-CD, CLCD
im1, im2    SECOND (label1, label2)            t1, t2           DSIFN (mask)
image1, image2    S2Looking                    before, after, pre, post
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from everymask.data.formats.folders import SPLIT_FOLDERS, folders_in, split_of
from everymask.data.formats.pair_lists import split_by_lists
from everymask.data.formats.pairs import Name, Pair, files_by_name
from everymask.data.issues import IssueLog
from everymask.errors import printable

DATES = (
    ("a", "b"), ("im1", "im2"), ("image1", "image2"), ("img1", "img2"), ("time1", "time2"), ("t1", "t2"),
    ("before", "after"), ("pre", "post"),
)  # fmt: skip
LABELS = (
    "label", "labels", "out", "mask", "masks", "cm", "gt", "change", "changes", "change_label", "change_labels",
)  # fmt: skip
LABELS_OF_DATES = ("label1", "label2")
"""What is where at each date, and white or 0 where nothing changed."""
_ENDING = re.compile(rf"[-_. ](?:{'|'.join((*LABELS, *(word for pair in DATES for word in pair)))})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dated:
    """A place at two dates, its label file (None: nobody has said what changed), and the split that they belong to."""

    before: Path
    after: Path
    label: Path | None
    split: str | None = None
    earlier: Path | None = None
    """The label of what was there before, where `label` says what is there now."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of two dates, and that of the labels (None: there is none)."""

    before: Path
    after: Path
    labels: Path | None
    dated: bool = False
    """Whether the labels say what is there at a date."""
    earlier: Path | None = None
    """The folder of the labels of the earlier date, where those of the later are `labels`."""


def find_folders(root: Path, masks: str | Path | None = None) -> list[Folders]:
    """The folders of dates in `root` and in its folders named after splits; `masks` is that of the labels, or its name.

    Names count in whatever case.
    """
    splits = [folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS] if root.is_dir() else []
    found = []
    for base in (root, *splits) if root.is_dir() else ():
        known = {folder.name.lower(): folder for folder in folders_in(base)}
        for before, after in DATES:
            if before in known and after in known:
                found.append(Folders(known[before], known[after], *_labels(known, masks)))
                break
    return found


def _labels(known: Mapping[str, Path], masks: str | Path | None) -> tuple[Path | None, bool, Path | None]:
    """The folder of the labels, whether they say what is there at a date, and the one of the earlier date."""
    if masks is not None:
        wanted = Path(masks)
        chosen = known.get(wanted.name.lower(), wanted if wanted.is_dir() else None)
        return chosen, wanted.name.lower() in LABELS_OF_DATES, None
    for name in LABELS:
        if name in known:
            return known[name], False, None
    earlier, later = (known.get(name) for name in LABELS_OF_DATES)
    if earlier is None or later is None:
        return later or earlier, True, None
    return later, True, earlier


def find_dated(root: Path, folders: list[Folders], issues: IssueLog) -> list[Dated]:
    """The places of all `folders`; `issues` is told about pictures and labels that stay alone.

    A place of a test split without a label, and one without where others have some, is not annotated.
    """
    found = [one for part in folders for one in _matched(root, part, issues)]
    if any(one.split for one in found):
        return found
    known = {one.after: one for one in found}
    listed = split_by_lists(root, [Pair(after, one.label or after, None) for after, one in known.items()], issues)
    return [replace(known[pair.picture], split=pair.split) for pair in listed]


def _matched(root: Path, folders: Folders, issues: IssueLog) -> Iterator[Dated]:
    """The places by the names of their files."""
    parts = (folders.before, folders.after, folders.labels, folders.earlier)
    earlier, later, labels, firsts = (_bare({} if part is None else files_by_name(part, issues)) for part in parts)
    for name in sorted(earlier.keys() | later.keys() | labels.keys() | firsts.keys()):
        before, after, label, first = (part.get(name) for part in (earlier, later, labels, firsts))
        if folders.earlier is not None and folders.labels is not None and (label is None) is not (first is None):
            _note_label_of_one_date(folders.labels if label is None else folders.earlier, label or first, issues)
            continue
        if before is not None and after is not None:
            yield Dated(before, after, label, split_of(after, root), first)
            continue
        there = before or after or label
        assert there is not None
        lacking = [folder.name for folder, file in ((folders.before, before), (folders.after, after)) if file is None]
        what = "the label belongs to no pictures" if there == label else "the picture has no partner"
        labelled = ", and its label cannot be used" if label not in (None, there) else ""
        message = f"{what} in {' and '.join(f'{printable(part)}/' for part in lacking)}{labelled}"
        hint = f"expected {lacking[0]}/{there.name}: bring the other date, or take this file away"
        issues.error("date-missing", message, file=there, hint=hint)


def _note_label_of_one_date(lacking: Path, there: Path | None, issues: IssueLog) -> None:
    """A place of which it is known what is there at one date alone."""
    assert there is not None
    message = f"only one date has a label; it has no partner in {printable(lacking.name)}/"
    hint = (
        f"expected {lacking.name}/{there.name}: bring it, take this label away too, or learn only that something "
        f"changed with --masks {there.parent.name}"
    )
    issues.error("label-date-missing", message, file=there, hint=hint)


def _bare(files: Mapping[Name, Path]) -> dict[Name, Path]:
    """The files by their names without a word for date or label, where all of them end in one: X of X_A and X_label."""
    found = {(place, _ENDING.sub("", stem)): file for (place, stem), file in files.items()}
    ending = all(_ENDING.search(stem) for _, stem in files)
    return found if ending and len(found) == len(files) else dict(files)
