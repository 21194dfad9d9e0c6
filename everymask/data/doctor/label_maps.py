"""What a semantic data set's label maps hold, and what part of the pixels each class has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.change.coding import ChangeCoding
from everymask.data.coding import LabelCoding, count_values, stored_values
from everymask.data.dataset import Dataset
from everymask.data.doctor.summary import StoredValue
from everymask.errors import DataError

_SAMPLED = 50


@dataclass(frozen=True, slots=True)
class MapFacts:
    """Of a `Summary` all that concerns label maps."""

    encoding: str
    empty: int
    shares: dict[str, dict[str, float]]
    no_truth: float
    values: tuple[StoredValue, ...]
    maps_decoded: int


def look_at_maps(dataset: Dataset, *, decode: bool) -> MapFacts:
    """Count pixels by class and by stored value; of a sample of maps unless `decode`, or where the reader counted."""
    coding = dataset.coding
    maps_hold, both = (coding.maps, coding.both) if isinstance(coding, ChangeCoding) else (coding, False)
    sample = range(len(dataset))[:: 1 if decode else max(1, len(dataset) // _SAMPLED)]
    values, maps = _values(dataset, sample, maps_hold) if isinstance(maps_hold, LabelCoding) else ((), 0)
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
        total += record.size[0] * record.size[1] * (2 if both else 1)
        empty += not counts.any()
    known = sum(int(counts.sum()) for counts in pixels.values())
    return MapFacts(
        encoding="" if coding is None else coding.sentence(dataset.labels),
        empty=empty,
        shares={
            name: {split: round(float(counts[row] / max(1, counts.sum())), 6) for split, counts in pixels.items()}
            for row, name in enumerate(dataset.labels.names)
        },
        no_truth=round(1 - known / total, 6) if total else 0.0,
        values=values,
        maps_decoded=maps,
    )


def _values(dataset: Dataset, rows: range, coding: LabelCoding) -> tuple[tuple[StoredValue, ...], int]:
    """Each stored value, by its number of pixels, and how many maps were decoded to find them."""
    pixels: Counter[int] = Counter()
    maps: Counter[int] = Counter()
    decoded = 0
    for row in rows:
        for file in dataset.records[row].truth.files:
            try:
                stored = stored_values(file, coding)
            except DataError:
                continue  # the reader, or whoever decodes it next, says what is wrong with it
            decoded += 1
            found = count_values(stored)
            pixels.update(found)
            maps.update(found.keys())
    names = {value: "" if name is None else dataset.labels.names[name] for value, name in coding.table}
    listed = (StoredValue(coding.shown(v), names.get(v, ""), count, maps[v]) for v, count in pixels.most_common())
    return tuple(listed), decoded


def _pixels_by_class(dataset: Dataset, row: int) -> list[int]:
    count = len(dataset.labels)
    found: list[int] = dataset.label_map(row).class_pixels(count).tolist()
    return found
