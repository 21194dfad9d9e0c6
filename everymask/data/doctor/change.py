"""What may be wrong with pictures of two dates: they lie beside each other, or the later one is older."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.data.change.coding import ChangeCoding, disagreeing
from everymask.data.change.shift import shift_between
from everymask.data.coding import LabelCoding, read_ids
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_image
from everymask.errors import DataError, printable

_SAMPLED = 50
_FAR = 2.0
_SURE = 0.1
_SEVERAL = 5
_EXIF, _TAKEN, _WRITTEN = 0x8769, 0x9003, 0x0132
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")


def look_at_dates(dataset: Dataset, issues: IssueLog, *, decode: bool) -> None:
    """Note pairs whose dates lie more than two pixels beside each other, and those that are the wrong way round.

    The shift is measured of 50 pairs, or of all where `decode` says so. Which date is which only files that say when
    they were taken tell: in EXIF, in TIFF's tag, or in the names of folder and file, as 20190713 or 2019.
    """
    rows = [row for row, record in enumerate(dataset.records) if record.before is not None]
    looked_at = rows if decode else rows[:: max(1, len(rows) // _SAMPLED)]
    _note_shifts(dataset, looked_at, issues)
    _note_disagreements(dataset, looked_at, issues)
    for row in rows:
        before, after = dataset.records[row].dates
        times = taken(before), taken(after)
        if all(times) and times[0] > times[1]:
            message = f"the earlier date was taken later: {times[0]}, and the other {times[1]}"
            hint = "exchange the folders of the two dates: models that know what is new take it for what is gone"
            issues.warn("dates-swapped", message, file=before, value=str(after), hint=hint)


def taken(file: Path) -> str:
    """When a picture was taken, as text that sorts by time ("2019", "2019-07-13 10:04:00"); empty where not known."""
    with suppress(OSError, ValueError, SyntaxError), Image.open(file) as picture:
        tags = picture.getexif()
        found = tags.get_ifd(_EXIF).get(_TAKEN) or tags.get(_WRITTEN)
        if isinstance(found, str) and re.match(r"\d{4}:\d\d:\d\d", found):
            return found.strip("\0 ").replace(":", "-", 2)
    for name in (file.stem, file.parent.name):
        if day := _DAY.search(name):
            return f"{day[1]}-{day[3]}-{day[4]}"
        if year := _YEAR.search(name):
            return year[1]
    return ""


def _note_disagreements(dataset: Dataset, rows: list[int], issues: IssueLog) -> None:
    """Pairs whose labels of both dates do not agree on what changed."""
    coding = dataset.coding.maps if isinstance(dataset.coding, ChangeCoding) and dataset.coding.both else None
    if not isinstance(coding, LabelCoding):
        return
    for row in rows:
        record = dataset.records[row]
        with suppress(DataError):
            if not record.annotated:
                continue
            sides = [read_ids(file, coding, dataset.labels) for file in record.truth.files]
            odd = int(np.count_nonzero(disagreeing(*sides)))
            if odd:
                message = f"{odd:,} pixels changed by the label of one date and did not by the other's"
                hint = "they are without truth; export both labels anew"
                issues.warn("labels-disagree", message, file=record.truth.files[0], hint=hint)


def _note_shifts(dataset: Dataset, rows: list[int], issues: IssueLog) -> None:
    """Pairs that are shifted, and by how much pairs are in the middle where many are."""
    found = []
    for row in rows:
        record = dataset.records[row]
        with suppress(DataError):  # the reader, or whoever decodes it next, says what is wrong with it
            before, after = map(read_image, record.dates)
            if before.shape != after.shape:
                continue
            x, y, sure = shift_between(before, after)
            if sure < _SURE:
                continue
            found.append((x, y))
            if np.hypot(x, y) > _FAR:
                message = f"the two dates lie beside each other: the later by {x:+.1f} pixels in x, {y:+.1f} in y"
                hint = "align them, or train with a larger --augment.shift"
                issues.warn("dates-shifted", message, file=record.image, value=f"{printable(record.before)}", hint=hint)
    far = [shift for shift in found if np.hypot(*shift) > _FAR]
    if len(far) >= _SEVERAL and 2 * len(far) > len(found):
        x, y = np.median(found, axis=0).tolist()
        message = f"most pairs are shifted; in the middle the later date lies {x:+.1f} pixels in x and {y:+.1f} in y"
        issues.warn("dates-shifted-alike", message, file=dataset.root, hint="shift one of the dates by that much")
