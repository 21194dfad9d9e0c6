"""What is in a data set: counts, sizes, classes, splits, first defects. From the records, without rasterising them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.rle import runs_from_string
from everymask.data.coco_objects import ring_area
from everymask.data.dataset import Annotation, BoxOnly, Dataset, MaskFile, Polygons, Record, Rle
from everymask.data.headers import read_headers
from everymask.data.images import read_label_map
from everymask.data.issues import IssueLog
from everymask.errors import Issue

_QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers that `everymask check` and the report show.

    `sizes` are (H, W): the smallest and the largest by area, the median of each side, and the commonest with its
    number. `pixels` counts pictures by channels and depth, as `"3 x uint8"`. `classes` counts objects by class and
    split (`"all"` where there are none). `per_picture` and `areas` (pixels) are quantiles, empty without objects.
    Polygon areas are the outlines' own, so overlapping parts of one object count twice.
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

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and texts."""
        return {**asdict(self), "sizes": {name: list(size) for name, size in self.sizes.items()}}


def check(dataset: Dataset) -> Summary:
    """Count what is in a data set. Headers of all pictures are read, mask files are decoded once each.

    Defects come from the reader (`dataset.issues`), and from pictures that cannot be read any more; 20 are kept.
    """
    issues = IssueLog("skip")
    headers = read_headers([record.image for record in dataset.records], issues)
    pixels = Counter(f"{header.channels} x {header.dtype}" for header in headers if header is not None)
    counts = [len(record.annotations) for record in dataset.records]
    found = (*dataset.issues, *issues.issues, *issues.rest())
    areas = [area for record in dataset.records for area in _areas(record)]
    return Summary(
        format=dataset.format,
        root=str(dataset.root),
        pictures=len(dataset),
        empty=counts.count(0),
        objects=sum(counts),
        crowd=sum(a.crowd for record in dataset.records for a in record.annotations),
        boxes_only=dataset.boxes_only,
        splits=dataset.splits(),
        sizes=_sizes([record.size for record in dataset.records]),
        pixels=dict(pixels.most_common()),
        classes=_classes(dataset),
        per_picture=_quantiles(counts),
        areas=_quantiles(areas),
        num_errors=_total(found, "error"),
        num_warnings=_total(found, "warning"),
        issues=tuple(sorted(found, key=lambda issue: issue.severity)[:_SHOWN]),
    )


def _total(issues: Iterable[Issue], severity: str) -> int:
    return sum(issue.count for issue in issues if issue.severity == severity)


def _sizes(sizes: list[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    median = np.median(np.array(sizes), axis=0).round().astype(int).tolist()
    commonest, count = Counter(sizes).most_common(1)[0]
    return {"min": by_area[0], "median": tuple(median), "max": by_area[-1], "commonest": (*commonest, count)}


def _classes(dataset: Dataset) -> dict[str, dict[str, int]]:
    columns = list(dataset.splits()) or ["all"]
    table = {name: dict.fromkeys(columns, 0) for name in dataset.labels.names}
    for record in dataset.records:
        for annotation in record.annotations:
            row = table[dataset.labels.names[annotation.class_id]]
            split = record.split or "all"
            row[split] = row.get(split, 0) + 1
    return table


def _areas(record: Record) -> Iterable[float]:
    painted: dict[Path, Counter[int]] = {}
    for annotation in record.annotations:
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
