"""What is in a data set: counts, sizes, classes, splits, first defects. From the records, without rasterising them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.forms.polygons import ring_area
from everymask.core.forms.rle import runs_from_string
from everymask.data.crossings import crossing_rings
from everymask.data.dataset import Dataset, panoptic_refused
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import read_label_map
from everymask.data.records import Annotation, BoxOnly, MaskFile, Polygons, Record, Rle
from everymask.data.splits import same_pictures
from everymask.errors import Issue

_QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
_SHOWN = 20
_SAMPLED = 50


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers that `everymask check` and the report show.

    `sizes` are (H, W): the smallest and the largest by area, the median of each side, and the commonest with its
    number. `pixels` counts pictures by channels and depth, as `"3 x uint8"`. `classes` counts objects by class and
    split (`"all"` where there are none). `per_picture` and `areas` (pixels) are quantiles, empty without objects.
    Polygon areas are the outlines' own, so overlapping parts of one object count twice.

    Of a semantic data set `encoding` says what the label maps hold, `shares` by class and split the part of the pixels
    with truth (where label maps are painted from objects, of a sample of 50 pictures), and `no_truth` the part of all
    pixels that have none; `empty` counts pictures without any truth, and nothing is said of objects.

    `not_annotated` counts pictures of which nothing is known; they are in no other number.
    """

    format: str
    root: str
    pictures: int
    empty: int
    objects: int
    crowd: int
    boxes_only: bool
    splits: dict[str, int]
    sizes: dict[str, tuple[int, ...]]
    pixels: dict[str, int]
    classes: dict[str, dict[str, int]]
    per_picture: dict[str, float]
    areas: dict[str, float]
    num_errors: int
    num_warnings: int
    issues: tuple[Issue, ...]
    encoding: str = ""
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    no_truth: float = 0.0
    not_annotated: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and texts."""
        return {**asdict(self), "sizes": {name: list(size) for name, size in self.sizes.items()}}


def check(dataset: Dataset) -> Summary:
    """Count what is in a data set. Headers of all pictures are read, mask files are decoded once each.

    Defects come from the reader (`dataset.issues`), and from pictures that cannot be read any more; 20 are kept. Two
    oddities are looked for here, since they cost more than reading should: outlines that cross themselves, and pictures
    that are there twice. `ConfigError` for a panoptic data set.
    """
    match dataset.kind:
        case "objects":
            return _summary(dataset, dataset.annotated(), lambda record: record.truth.annotations)
        case "label maps":
            # Objects of which label maps are painted are not what is learned.
            annotated = dataset.annotated()
            return replace(_summary(dataset, annotated, lambda record: ()), **_label_maps(annotated))
        case "panoptic":
            raise panoptic_refused(dataset, "checked")
        case _:
            assert_never(dataset.kind)


def _summary(whole: Dataset, dataset: Dataset, drawn_in: Callable[[Record], tuple[Annotation, ...]]) -> Summary:
    """What there is to say of any data set, of which `dataset` are the annotated pictures, and of its objects."""
    issues = IssueLog("skip")
    _note_crossings(dataset, issues)
    _note_repeats(dataset, issues)
    headers = read_headers([record.image for record in dataset.records], issues)
    pixels = Counter(f"{header.channels} x {header.dtype}" for header in headers if header is not None)
    objects = list(map(drawn_in, dataset.records))
    counts = list(map(len, objects))
    found = (*dataset.issues, *issues.noted())
    areas = [area for drawn in objects for area in _areas(drawn)]
    return Summary(
        format=dataset.format,
        root=str(dataset.root),
        pictures=len(dataset),
        empty=counts.count(0),
        objects=sum(counts),
        crowd=sum(a.crowd for drawn in objects for a in drawn),
        boxes_only=dataset.boxes_only,
        splits=dataset.splits(),
        sizes=_sizes([record.size for record in dataset.records]),
        pixels=dict(pixels.most_common()),
        classes=_classes(dataset, objects),
        per_picture=_quantiles(counts),
        areas=_quantiles(areas),
        num_errors=_total(found, "error"),
        num_warnings=_total(found, "warning"),
        issues=tuple(sorted(found, key=lambda issue: issue.severity)[:_SHOWN]),
        not_annotated=len(whole) - len(dataset),
    )


def _label_maps(dataset: Dataset) -> dict[str, Any]:
    """What a summary says of a semantic data set."""
    coding = dataset.coding
    rows = range(len(dataset))
    if not all(record.truth.pixels for record in dataset.records):
        rows = rows[:: max(1, len(rows) // _SAMPLED)]
    pixels: dict[str, IntArray] = {}
    total = empty = 0
    for row in rows:
        record = dataset.records[row]
        counts = np.array(record.truth.pixels or _pixels_by_class(dataset, row), np.int64)
        split = record.split or "all"
        pixels[split] = pixels.get(split, np.zeros(len(counts), np.int64)) + counts
        total += record.size[0] * record.size[1]
        empty += not counts.any()
    known = sum(int(counts.sum()) for counts in pixels.values())
    return {
        "encoding": "" if coding is None else coding.sentence(dataset.labels),
        "empty": empty,
        "classes": {},
        "shares": {
            name: {split: round(float(counts[row] / max(1, counts.sum())), 6) for split, counts in pixels.items()}
            for row, name in enumerate(dataset.labels.names)
        },
        "no_truth": round(1 - known / total, 6) if total else 0.0,
    }


def _pixels_by_class(dataset: Dataset, row: int) -> list[int]:
    count = len(dataset.labels)
    found: list[int] = np.bincount(dataset.label_map(row).ids.ravel(), minlength=count)[:count].tolist()
    return found


def _note_crossings(dataset: Dataset, issues: IssueLog) -> None:
    rings = [
        (record, number, ring)
        for record in dataset.records
        for number, annotation in enumerate(record.truth.annotations, 1)
        if isinstance(annotation.shape, Polygons)
        for ring in annotation.shape.rings
    ]
    noted = set()
    for (record, number, _), crosses in zip(rings, crossing_rings(ring for *_, ring in rings), strict=True):
        if crosses and (record.image, number) not in noted:
            noted.add((record.image, number))
            found = record.truth.annotations[number - 1].id
            where = f"object {number}" if found is None else f"annotation id {found}"
            message = "the outline crosses itself; parts inside its loops may count as outside"
            issues.warn("polygon-crossing", message, file=record.image, where=where, hint="draw it again")


def _note_repeats(dataset: Dataset, issues: IssueLog) -> None:
    for rows in same_pictures(dataset):
        first, *others = (dataset.records[row].image for row in rows)
        message = f"{len(rows)} pictures are the same, byte for byte; drawing a split keeps them together"
        hint = "keep one of them, with all its objects"
        issues.warn("same-picture", message, file=first, value=", ".join(map(str, others)), hint=hint)


def _total(issues: Iterable[Issue], severity: str) -> int:
    return sum(issue.count for issue in issues if issue.severity == severity)


def _sizes(sizes: list[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    median = np.median(np.array(sizes), axis=0).round().astype(int).tolist()
    commonest, count = Counter(sizes).most_common(1)[0]
    return {"min": by_area[0], "median": tuple(median), "max": by_area[-1], "commonest": (*commonest, count)}


def _classes(dataset: Dataset, objects: list[tuple[Annotation, ...]]) -> dict[str, dict[str, int]]:
    columns = list(dataset.splits()) or ["all"]
    table = {name: dict.fromkeys(columns, 0) for name in dataset.labels.names}
    for record, drawn in zip(dataset.records, objects, strict=True):
        for annotation in drawn:
            row = table[dataset.labels.names[annotation.class_id]]
            split = record.split or "all"
            row[split] = row.get(split, 0) + 1
    return table


def _areas(objects: tuple[Annotation, ...]) -> Iterable[float]:
    painted: dict[Path, Counter[int]] = {}
    for annotation in objects:
        match annotation.shape:
            case Polygons(rings):
                yield sum(ring_area(ring) for ring in rings)
            case Rle(counts):
                yield float(runs_from_string(counts)[1::2].sum())
            case MaskFile(file, value):
                if file not in painted:
                    painted[file] = _pixels_by_value(file)
                area = painted[file].total() - painted[file][0] if value is None else painted[file][value]
                yield float(area)
            case BoxOnly():
                yield _box_area(annotation)


def _pixels_by_value(file: Path) -> Counter[int]:
    ids = read_label_map(file)
    if ids.dtype.itemsize <= 2:
        return Counter(dict(enumerate(np.bincount(ids.ravel()).tolist())))
    values, counts = np.unique(ids, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _box_area(annotation: Annotation) -> float:
    x1, y1, x2, y2 = annotation.box or (0, 0, 0, 0)
    return float((x2 - x1) * (y2 - y1))


def _quantiles(values: list[int] | list[float]) -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(np.array(values, np.float64), list(_QUANTILES.values()))
    return dict(zip(_QUANTILES, found.round(1).tolist(), strict=True))
