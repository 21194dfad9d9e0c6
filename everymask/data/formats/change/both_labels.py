"""Labels of what is there at each of two dates, in label1/ and label2/, as of SECOND (Yang et al. 2022).

Both are white (or 0) where nothing changed, and what is there is only known where something did. Labels hold SECOND's
colours, what a table of classes says (classes.csv, whose first class is what did not change), or numbers, of which 0
did not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from everymask.core.labels import Labels, labels_of
from everymask.data.change.coding import CHANGE
from everymask.data.coding import LabelCoding
from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.files import LabelledPicture, semantic_dataset, total_pixels
from everymask.data.formats.labelmaps.recognition import Recognised, recognise
from everymask.data.formats.labelmaps.tables import colour_code, find_table, read_table
from everymask.data.issues import IssueLog, Policy
from everymask.data.records import LabelMapFile, Record
from everymask.errors import Issue

SECOND = Labels(
    (CHANGE.names[0], "water", "ground", "low vegetation", "tree", "building", "sports field"),
    ((255, 255, 255), (0, 0, 255), (128, 128, 128), (0, 128, 0), (0, 255, 0), (128, 0, 0), (255, 0, 0)),
)
_NO_TRUTH, _MOST = 255, 254


def recognise_both(root: Path, pictures: Sequence[LabelledPicture], issues: IssueLog) -> Recognised | None:
    """The classes of the labels of both dates, and what stands for each.

    None where they do not tell what became of what, so that only the change itself is known: that is warned of.
    """
    file = find_table([root, *{picture.pair.map.parent for picture in pictures[:1]}])
    table = None if file is None else read_table(file, issues)
    if table is not None:
        return recognise(root, pictures, table, issues)
    values = set(total_pixels(pictures))
    if any(picture.content.coloured for picture in pictures):
        rows = {colour_code(colour): row for row, colour in enumerate(SECOND.colours)}
        if values <= rows.keys():
            return SECOND, LabelCoding("colours", tuple(rows.items()), "SECOND's colours; white did not change"), ""
        found = ", ".join(f"#{value:06x}" for value in sorted(values - rows.keys())[:8])
        message = "no table says what the colours in label1/ and label2/ stand for: only that something changed is read"
        hint = f"write {root / 'classes.csv'} (name,red,green,blue), what did not change first"
        issues.warn("labels-unnamed", message, file=root, value=found, hint=hint)
        return None
    classes = sorted({0, *values} - {_NO_TRUTH})
    if len(classes) <= 2 or classes[-1] > _MOST or any(picture.content.lossy for picture in pictures):
        message = "label1/ and label2/ do not tell kinds of what is there apart: only that something changed is read"
        issues.warn("labels-unnamed", message, file=root, hint="labels of each date hold 0, or a number for each class")
        return None
    named = labels_of([CHANGE.names[0], *(f"class {value}" for value in classes[1:])])
    numbers: dict[int, int | None] = {_NO_TRUTH: None} | {value: row for row, value in enumerate(classes)}
    labels = replace(named, colours=(CHANGE.colours[0], *named.colours[1:]))
    return labels, LabelCoding("numbers", tuple(numbers.items()), "numbers found; 0 did not change"), ""


def with_labels_before(dataset: Dataset, earlier: Sequence[LabelledPicture], policy: Policy) -> Dataset:
    """The data set, whose truths are the labels of the later date, with those of the earlier.

    `DataError` where one of these cannot be used; unless that is strict, its picture is left out.
    """
    issues, coding = IssueLog(policy), dataset.coding
    maps = getattr(coding, "maps", None)
    assert isinstance(maps, LabelCoding)
    first = semantic_dataset(dataset.root, dataset.format, earlier, dataset.labels, maps, issues)
    labels = {record.image: record.truth for record in first.records}
    records = []
    for record in dataset.records:
        before = labels.get(record.dates[0])
        if isinstance(record.truth, LabelMapFile) and isinstance(before, LabelMapFile):
            pixels = tuple(np.add(record.truth.pixels, before.pixels).tolist()) if before.pixels else ()
            records.append(replace(record, truth=LabelMapFile(record.truth.file, pixels, before.file)))
        elif not record.annotated:
            records.append(record)
    seen = [issue for issue in (*dataset.issues, *first.issues) if issue.code != "class-absent"]
    return replace(dataset, records=tuple(records), issues=(*seen, *_absent(dataset, records)))


def _absent(dataset: Dataset, records: Sequence[Record]) -> tuple[Issue, ...]:
    """A warning where neither date shows a class."""
    counted = [record.truth.pixels for record in records if record.annotated]
    if not counted or not all(counted):
        return ()
    names = [name for name, pixels in zip(dataset.labels.names, np.sum(counted, axis=0), strict=True) if not pixels]
    issues = IssueLog("skip")
    if names:
        message = f"no label shows {len(names)} of {len(dataset.labels)} classes at either date"
        issues.warn("class-absent", message, file=dataset.root, value=", ".join(names))
    return tuple(issues.noted())
