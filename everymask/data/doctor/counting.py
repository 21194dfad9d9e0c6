"""Counts of pictures and objects, from the records without drawing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.forms.rings import ring_areas
from everymask.core.forms.rle import runs_from_string
from everymask.data.coding import count_values
from everymask.data.dataset import Dataset
from everymask.data.records import Annotation, BoxOnly, MaskFile, Polygons, Rle

_QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
_TOGETHER = 20_000
_MANY = {
    "0": 0,
    "1": 1,
    "2": 2,
    "3 to 5": 3,
    "6 to 10": 6,
    "11 to 20": 11,
    "21 to 50": 21,
    "51 to 100": 51,
    "more": 101,
}
_SHAPES = {
    "taller than 1:2": 0.0, "up to 1:1.1 tall": 0.5, "about square": 1 / 1.1, "up to 2:1 wide": 1.1,
    "wider than 2:1": 2.0,
}  # fmt: skip


def sizes_of(sizes: Sequence[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """The smallest and the largest (H, W) by area, the median of each side, the commonest with its number."""
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    median = np.median(np.array(sizes), axis=0).round().astype(int).tolist()
    commonest, count = Counter(sizes).most_common(1)[0]
    return {"min": by_area[0], "median": tuple(median), "max": by_area[-1], "commonest": (*commonest, count)}


def objects_by_class(dataset: Dataset, objects: Iterable[tuple[Annotation, ...]]) -> dict[str, dict[str, int]]:
    """How many objects each class has in each split, or in `"all"`."""
    columns = list(dataset.splits()) or ["all"]
    table = {name: dict.fromkeys(columns, 0) for name in dataset.labels.names}
    for record, drawn in zip(dataset.records, objects, strict=True):
        split = record.split or "all"
        for annotation in drawn:
            row = table[dataset.labels.names[annotation.class_id]]
            row[split] = row.get(split, 0) + 1
    return table


def areas_of(objects: Sequence[tuple[Annotation, ...]]) -> FloatArray:
    """The area of each object in pixels; mask files are decoded, each once for its picture."""
    areas = np.array([area for drawn in objects for area in _areas(drawn)], np.float64)
    shapes = (annotation.shape for drawn in objects for annotation in drawn)
    outlined = [(row, shape.rings) for row, shape in enumerate(shapes) if isinstance(shape, Polygons)]
    for begin in range(0, len(outlined), _TOGETHER):
        part = outlined[begin : begin + _TOGETHER]
        rows = np.repeat([row for row, _ in part], [len(rings) for _, rings in part])
        np.add.at(areas, rows, ring_areas([ring for _, rings in part for ring in rings]))
    return areas


def quantiles(values: Sequence[float] | Array) -> dict[str, float]:
    """From the least to the most; empty without values."""
    if not len(values):
        return {}
    found = np.quantile(np.array(values, np.float64), list(_QUANTILES.values()))
    return dict(zip(_QUANTILES, found.round(1).tolist(), strict=True))


def histograms(sizes: Sequence[tuple[int, int]], counts: Sequence[int], areas: FloatArray) -> dict[str, dict[str, int]]:
    """How many pictures there are by longer side, by shape and by number of objects, and objects by size.

    Only what is there: without areas nothing is said of objects.
    """
    if not sizes:
        return {}
    sides = np.array(sizes)
    found = {
        "pictures by longer side in pixels": _by_doubling(sides.max(axis=1)),
        "pictures by width to height": _by_limits(sides[:, 1] / sides[:, 0], _SHAPES),
    }
    if len(areas):
        found["pictures by number of objects"] = _by_limits(np.array(counts), _MANY)
        found["objects by side in pixels (square root of the area)"] = _by_doubling(np.sqrt(areas))
    return found


def _by_limits(values: Array, limits: dict[str, float] | dict[str, int]) -> dict[str, int]:
    """Counts by ranges, each of which begins at its limit; those at either end go where nothing is in them."""
    places = np.searchsorted(np.array(list(limits.values()), float), values, side="right") - 1
    return _between(dict(zip(limits, np.bincount(places, minlength=len(limits)).tolist(), strict=True)))


def _by_doubling(values: Array) -> dict[str, int]:
    """Counts by ranges whose limits are powers of two, from below 4 on."""
    places = np.clip(np.floor(np.log2(np.maximum(values, 1))).astype(int) - 1, 0, 16)
    names = ["below 4", *(f"{1 << power} to {(2 << power) - 1}" for power in range(2, 18))]
    return _between(dict(zip(names, np.bincount(places, minlength=len(names)).tolist(), strict=True)))


def _between(counts: dict[str, int]) -> dict[str, int]:
    """The counts from the first to the last that is not 0."""
    filled = [place for place, count in enumerate(counts.values()) if count]
    return dict(list(counts.items())[filled[0] : filled[-1] + 1]) if filled else {}


def _areas(objects: tuple[Annotation, ...]) -> Iterable[float]:
    painted: dict[Path, Counter[int]] = {}
    for annotation in objects:
        match annotation.shape:
            case Polygons():
                yield 0.0  # measured together
            case Rle(counts):
                yield float(runs_from_string(counts)[1::2].sum())
            case MaskFile(file, value):
                if file not in painted:
                    painted[file] = Counter(count_values(annotation.shape.numbers()))
                area = painted[file].total() - painted[file][0] if value is None else painted[file][value]
                yield float(area)
            case BoxOnly():
                x1, y1, x2, y2 = annotation.box or (0, 0, 0, 0)
                yield float((x2 - x1) * (y2 - y1))
