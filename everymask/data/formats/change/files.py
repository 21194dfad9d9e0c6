"""Pictures of one place at two dates with a label of what changed, in the folders of public data sets (see `layouts`).

Labels are masks of two values, as 0 and 255: what is not 0 has changed. Masks that a lossy format or smoothed edges
have blurred are divided midway between their two levels, as all such masks are (128 for 0 and 255), or at a threshold.
A table of classes (classes.csv) tells several kinds of change apart; its first class is what did not change. Labels of
what is there at each date (label1/ and label2/) are read by `both_labels`; of one of them alone all that is not white,
or not 0, has changed. xBD's pictures and polygons of buildings are read by `xbd`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.files import write_text
from everymask.core.labels import Labels
from everymask.data.change.coding import CHANGE, ChangeCoding
from everymask.data.coding import LabelCoding
from everymask.data.dataset import Dataset
from everymask.data.formats.change.both_labels import recognise_both, with_labels_before
from everymask.data.formats.change.layouts import Dated, find_dated, find_folders
from everymask.data.formats.change.xbd import looks_like_xbd, read_xbd
from everymask.data.formats.folders import copy_picture, file_stem
from everymask.data.formats.labelmaps.contents import count_contents, remembered_contents
from everymask.data.formats.labelmaps.files import (
    LabelledPicture,
    read_contents,
    refused,
    semantic_dataset,
    total_pixels,
)
from everymask.data.formats.labelmaps.recognition import Recognised, recognise
from everymask.data.formats.labelmaps.tables import find_table, read_table, stored_ids, table_text
from everymask.data.formats.pairs import Pair
from everymask.data.formats.unannotated import Loose
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import Header, write_image

_WHITE = 0xFFFFFF
_LIMIT = 128


def looks_like_change_pairs(path: Path) -> bool:
    """Whether the folder holds folders of two dates and one of labels with a place that all three have, or xBD's."""
    if looks_like_xbd(path):
        return True
    folders = [found for found in find_folders(path) if found.labels is not None]
    return bool(folders) and any(one.label is not None for one in find_dated(path, folders, IssueLog("skip")))


def read_change_pairs(
    path: str | Path,
    *,
    policy: Policy = "strict",
    decode: bool = True,
    masks: str | Path | None = None,
    mask_threshold: int | None = None,
) -> Dataset:
    """The data set of changes in a folder; this module's text says how it is read.

    `masks` names the folder of labels where there are several, `mask_threshold` (1-255) is the brightness from which on
    a blurred mask says change. Every label is decoded once; without `decode`, what a large data set's labels held the
    last time is remembered. Raises `DataError` with all defects under the strict policy: a date without its partner, a
    label of one date only, dates of unequal size, channels or type. With `"skip"` such places are left out.
    """
    root = Path(path)
    if masks is None and looks_like_xbd(root):
        return read_xbd(root, policy=policy)
    issues = IssueLog(policy)
    folders = find_folders(root, masks)
    found = _of_one_size(find_dated(root, folders, issues), issues)
    labelled = [one for one in found if one.label is not None]
    if not labelled:
        if not issues.total("error"):
            hint = "name the folders A, B and label, or before, after and label"
            issues.error("no-pictures", "expected pictures of two dates with labels", file=root, hint=hint)
        raise refused(root, issues)
    look = count_contents if decode else partial(remembered_contents, root)
    pairs = [Pair(one.after, one.label, one.split) for one in labelled if one.label is not None]
    pictures = read_contents(pairs, issues, look)
    earlier = read_contents([Pair(one.before, one.earlier, None) for one in labelled if one.earlier], issues, look)
    both = None if not earlier else recognise_both(root, [*pictures, *earlier], issues)
    dated = any(part.dated for part in folders)
    recognised = both or _recognised(root, pictures, dated, mask_threshold, issues)
    if not pictures or recognised is None:
        raise refused(root, issues)
    labels, coding, hint = recognised
    loose = [Loose(one.after, one.split) for one in found if one.label is None]
    for one in loose:
        issues.warn_shared("unlabelled", "{count} pairs have no label, and are not annotated", file=one.picture)
    made = semantic_dataset(root, "change-pairs", pictures, labels, coding, issues, hint=hint, loose=loose)
    dates = {one.after: one.before for one in found}
    records = tuple(replace(record, before=dates[record.image]) for record in made.records)
    made = replace(made, records=records, coding=ChangeCoding(coding, both is not None))
    return made if both is None else with_labels_before(made, earlier, policy)


def write_change_pairs(folder: str | Path, dataset: Dataset) -> None:
    """Write A/ (the earlier date), B/ (the later) and label/, below train, val, test where there are splits.

    Labels hold 0 and 255. Where there is more to say (several kinds of change, pixels without truth), they hold the
    class ids, with `classes.csv`. What was there and what is there is written to label1/ and label2/. Pictures are
    copied as they are.
    """
    root, labels = Path(folder), dataset.labels
    both = isinstance(dataset.coding, ChangeCoding) and dataset.coding.both
    plain = (
        not both
        and labels.names == CHANGE.names
        and not any((dataset.change_map(row).ids == labels.ignore).any() for row in range(len(dataset)))
    )
    table = "" if plain else table_text(labels)
    for row, record in enumerate(dataset.records):
        base, found = root / (record.split or ""), dataset.change_map(row)
        for name, picture in zip(("A", "B"), record.dates, strict=True):
            copy_picture(replace(record, image=picture), base / name)
        for name, ids in zip(("label2", "label1") if both else ("label",), found.planes.values(), strict=True):
            stored = np.where(ids == 1, 255, 0).astype(np.uint8) if plain else stored_ids(ids, labels)
            write_image(base / name / f"{file_stem(record)}.png", stored)
    if table:
        write_text(root / "classes.csv", table)


def _of_one_size(found: Sequence[Dated], issues: IssueLog) -> list[Dated]:
    """The places whose two dates can be read and are alike; of the others one without a label is only a warning."""
    kept = []
    unread = IssueLog("skip")
    headers = [read_headers([getattr(one, name) for one in found], unread) for name in ("before", "after")]
    for one, before, after in zip(found, *headers, strict=True):
        if before is None or after is None:
            continue
        told = _difference(before, after)
        if not told:
            kept.append(one)
            continue
        message, value, hint = told
        if one.label is None:
            issues.warn("unlabelled", f"{message}; the pair is not annotated, and is left out", file=one.before)
        else:
            issues.error("date-size", message, file=one.before, value=value, hint=hint)
    for issue in unread.noted():
        note = issues.error if issue.severity == "error" else issues.warn
        note(issue.code, issue.message, file=issue.file, where=issue.where, value=issue.value, hint=issue.hint)
    return kept


def _difference(before: Header, after: Header) -> tuple[str, str, str] | None:
    """How the dates differ, in words and values, and the cure; None where they are alike."""
    sizes = [f"{header.size[1]} x {header.size[0]}" for header in (before, after)]
    if sizes[0] != sizes[1]:
        hint = "cut or resample one of them, so that a pixel shows the same place at both dates"
        return f"the two dates differ in size: the later has {sizes[1]} pixels", sizes[0], hint
    kinds = [f"{header.channels} x {header.dtype}" for header in (before, after)]
    if kinds[0] != kinds[1]:
        hint = "save both alike: in colours or in grey, with as many bits"
        return f"the two dates are stored differently: the later as {kinds[1]}", kinds[0], hint
    return None


def _recognised(
    root: Path, pictures: Sequence[LabelledPicture], dated: bool, threshold: int | None, issues: IssueLog
) -> Recognised | None:
    """The classes, what stands for each in the labels, and a hint; None where `issues` was told why not."""
    file = find_table([root, *{picture.pair.map.parent for picture in pictures[:1]}])
    table = None if file is None else read_table(file, issues)
    if file is not None and table is None:
        return None
    values = total_pixels(pictures)
    coloured = any(picture.content.coloured or picture.content.equal for picture in pictures)
    if table is None and dated and not coloured and 0 in values:
        rows = tuple((value, int(value != 0)) for value in values)
        return CHANGE, LabelCoding("numbers", rows, "what is there at a date; 0 did not change"), ""
    if table is None and dated:
        rows = tuple((value, int(value != _WHITE)) for value in {*values, _WHITE})
        return CHANGE, LabelCoding("colours", rows, "what is there at a date; white did not change"), ""
    exact = not any(picture.content.lossy or picture.content.coloured for picture in pictures)
    if table is None and exact and threshold is None and any(set(values) <= {0, top} for top in (1, 255)):
        top = 1 if max(values, default=0) == 1 else 255
        return CHANGE, LabelCoding("numbers", ((0, 0), (top, 1)), "what is not 0 has changed"), ""
    dark = not exact and not any(value >= _LIMIT for value in values)
    if table is None and dark and not any(picture.content.coloured for picture in pictures):
        rows = tuple((value, int(value >= _LIMIT)) for value in range(256))
        return CHANGE, LabelCoding("brightness", rows, f"change from {_LIMIT} on"), ""
    found = recognise(root, pictures, table, issues, threshold)
    if found is None or table is not None:
        return found
    labels, coding, hint = found
    return (CHANGE if len(labels) == 2 else _with_unchanged(labels)), coding, hint


def _with_unchanged(labels: Labels) -> Labels:
    """The kinds of change, of which the first is none."""
    return Labels((CHANGE.names[0], *labels.names[1:]), (CHANGE.colours[0], *labels.colours[1:]), ignore=labels.ignore)
