"""xBD (xView2): pictures before and after a disaster, and polygons of buildings with what became of them.

    images/<event>_<number>_pre_disaster.png    labels/<event>_<number>_pre_disaster.json
    images/<event>_<number>_post_disaster.png   labels/<event>_<number>_post_disaster.json

The folders stand in the root or in folders below it (train, test, tier3). What changed are the buildings that the
later file calls damaged or destroyed; `un-classified` ones have no truth. Source: Gupta et al. 2019, "xBD".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.data.change.coding import CHANGE, ChangeCoding
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import files_in, folders_in, split_of, unique_ids
from everymask.data.issues import IssueLog, Policy
from everymask.data.painting import Painting
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import pictures_among
from everymask.data.records import Annotation, NotAnnotated, Objects, Polygons, Record, Truth
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import printable

_NAME = re.compile(r"(.+)_(pre|post)_disaster")
_NUMBERS = re.compile(r"[-+\d.eE]+ [-+\d.eE]+(?:, ?[-+\d.eE]+ [-+\d.eE]+)*")
_DAMAGE = {"no-damage": False, "minor-damage": True, "major-damage": True, "destroyed": True}
_UNKNOWN = "un-classified"
_FEWEST = 3


def looks_like_xbd(path: Path) -> bool:
    """Whether a folder, or one in it, has images/ with names of both dates of a disaster, beside labels/."""
    return any(pairs for base in _bases(path) if (pairs := _pairs(base, IssueLog("skip"))))


def read_xbd(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set of changes in a folder of xBD's layout; this module's text says how it is read.

    Raises `DataError` with all defects under the strict policy; with `"skip"` defective places are left out.
    """
    root, issues = Path(path), IssueLog(policy)
    pairs = [pair for base in _bases(root) for pair in _pairs(base, issues)]
    headers = [read_headers([pair[date] for pair in pairs], issues) for date in (0, 1)]
    records = []
    ids = unique_ids([after.with_name(after.name.replace("_post_disaster", "")) for _, after in pairs], root)
    for name, (before, after), first, second in zip(ids, pairs, *headers, strict=True):
        if first is None or second is None:
            continue
        if first.size != second.size:
            value = f"{first.size[1]} x {first.size[0]}"
            message = f"the two dates differ in size: the later has {second.size[1]} x {second.size[0]} pixels"
            issues.error("date-size", message, file=before, value=value)
            continue
        truth = _read_truth(after.parent.parent / "labels" / f"{after.stem}.json", issues)
        if truth is not None:
            records.append(Record(name, after, second.size, truth, split_of(after, root), before))
    if not records and not issues.total("error"):
        issues.error("no-pictures", "expected pictures of two dates in images/", file=root)
    found = issues.finish(f"xBD in {printable(root)}")
    coding = ChangeCoding(Painting((1,), 0))
    return Dataset(CHANGE, tuple(records), "change-pairs", root, found, coding=coding)


def _bases(root: Path) -> list[Path]:
    places = [root, *folders_in(root)] if root.is_dir() else []
    return [place for place in places if (place / "images").is_dir() and (place / "labels").is_dir()]


def _pairs(base: Path, issues: IssueLog) -> list[tuple[Path, Path]]:
    """The earlier and the later picture of each place; `issues` is told about those without a partner."""
    found: dict[str, dict[str, Path]] = {}
    for file in pictures_among(files_in(base / "images")):
        if named := _NAME.fullmatch(file.stem):
            found.setdefault(named[1], {})[named[2]] = file
    pairs = []
    for name, dates in found.items():
        if len(dates) == 2:
            pairs.append((dates["pre"], dates["post"]))
            continue
        lacking = "post" if "pre" in dates else "pre"
        message = f"the picture has no partner of the {'later' if lacking == 'post' else 'earlier'} date"
        hint = f"expected {name}_{lacking}_disaster"
        issues.error("date-missing", message, file=next(iter(dates.values())), hint=hint)
    return pairs


def _read_truth(file: Path, issues: IssueLog) -> Truth | None:
    """The damaged buildings; None where `issues` was told why they cannot be known."""
    if not file.is_file():
        issues.warn_shared("unlabelled", "{count} pairs have no label, and are not annotated", file=file)
        return NotAnnotated()
    data = read_strict_json(file, issues)
    rows = data.get("features", {}).get("xy") if isinstance(data, dict) else None
    if data is not None and not isinstance(rows, list):
        issues.error("xbd-features", "expected a list features.xy of buildings", file=file)
    if not isinstance(rows, list):
        return None
    objects, ignored = [], []
    for place, row in enumerate(rows):
        ring, damage = _building(row)
        if ring is None or damage not in (*_DAMAGE, _UNKNOWN):
            message = "expected a POLYGON as wkt and a subtype: " + ", ".join((*_DAMAGE, _UNKNOWN))
            issues.error("xbd-building", message, file=file, where=f"/features/xy/{place}", value=row)
        elif damage == _UNKNOWN:
            ignored.append(Polygons((ring,)))
        elif _DAMAGE[str(damage)]:
            objects.append(Annotation(0, Polygons((ring,))))
    return Objects(tuple(objects), tuple(ignored))


def _building(row: Any) -> tuple[FloatArray | None, object]:
    """The outline of a building [K, 2] (its holes are part of it), and what became of it."""
    if not isinstance(row, dict) or not isinstance(row.get("properties"), dict):
        return None, None
    found = _NUMBERS.search(str(row.get("wkt", "")))
    try:
        points = [tuple(map(float, point.split())) for point in found[0].split(",")] if found else []
    except ValueError:
        points = []
    ring = np.array(points, np.float64) if len(points) >= _FEWEST and {len(point) for point in points} == {2} else None
    return ring, row["properties"].get("subtype")
