"""What a panoptic data set's maps hold: segments by class, their areas, and what part of the pixels each class has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.dataset import Dataset
from everymask.data.doctor.counting import quantiles
from everymask.data.panoptic import PanopticCoding
from everymask.errors import DataError

_SAMPLED = 50


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """Of a `Summary` all that concerns panoptic maps; `objects` are all segments, crowds aside, `empty` pictures have
    none, and `crowd` is the number of crowds in the `maps_decoded` maps.
    """

    encoding: str
    empty: int
    objects: int
    crowd: int
    classes: dict[str, dict[str, int]]
    per_picture: dict[str, float]
    areas: dict[str, float]
    shares: dict[str, dict[str, float]]
    no_truth: float
    maps_decoded: int


def look_at_segments(dataset: Dataset, *, decode: bool) -> SegmentFacts:
    """Count segments by class, and measure them in all maps, or without `decode` in a sample of them.

    Segments that are made of other truth are counted where they are measured.
    """
    names, columns = dataset.labels.names, list(dataset.splits()) or ["all"]
    classes = {name: dict.fromkeys(columns, 0) for name in names}
    numbers: list[int] = []

    def note(split: str | None, class_ids: Sequence[int]) -> None:
        numbers.append(len(class_ids))
        for class_id, count in Counter(class_ids).items():
            row = classes[names[class_id]]
            row[split or "all"] = row.get(split or "all", 0) + count

    made = isinstance(dataset.coding, PanopticCoding) and dataset.coding.painting is not None
    for record in () if made else dataset.records:
        note(record.split, record.truth.class_ids)
    areas: list[int] = []
    pixels: dict[str, IntArray] = {}
    total = decoded = crowd = 0
    for place in range(len(dataset))[:: 1 if decode else max(1, len(dataset) // _SAMPLED)]:
        try:
            found = dataset.panoptic_map(place)
        except DataError:
            continue  # the reader, or whoever decodes it next, says what is wrong with it
        split = dataset.records[place].split or "all"
        if made:
            note(dataset.records[place].split, [one.class_id for one in found.segments if not one.crowd])
        pixels[split] = pixels.get(split, np.zeros(len(names), np.int64)) + found.class_pixels(len(names))
        crowd += sum(one.crowd for one in found.segments)
        known = found.areas()
        areas += [known[one.id] for one in found.segments if one.id in known]
        total, decoded = total + found.ids.size, decoded + 1
    told = sum(int(counts.sum()) for counts in pixels.values())
    return SegmentFacts(
        encoding="" if dataset.coding is None else dataset.coding.sentence(dataset.labels),
        empty=numbers.count(0),
        objects=sum(numbers),
        crowd=crowd,
        classes=classes,
        per_picture=quantiles(numbers),
        areas=quantiles(areas),
        shares={
            name: {split: round(float(counts[row] / max(1, counts.sum())), 6) for split, counts in pixels.items()}
            for row, name in enumerate(names)
        },
        no_truth=round(1 - told / total, 6) if total else 0.0,
        maps_decoded=decoded,
    )
