"""What a format cannot hold is taken away before it is written, so that it can be measured instead of refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from everymask.data.dataset import Dataset
from everymask.data.painting import visible
from everymask.data.records import Record, Rle


def fitted(
    dataset: Dataset, refused: Collection[str], *, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """A data set of objects without what a format's writer refuses: "crowds" are left out, and of objects that share
    pixels ("overlaps") each keeps what a smaller one does not hide; one that is hidden altogether goes.

    The same data set where nothing is to be taken away. Boxes stay as they are.
    """
    if not refused or dataset.coding is not None or dataset.boxes_only:
        return dataset
    records = []
    for row, record in enumerate(dataset.records):
        records.append(_fitted(dataset, row, record, refused))
        if progress is not None:
            progress(row + 1, len(dataset))
    return replace(dataset, records=tuple(records))


def _fitted(dataset: Dataset, row: int, record: Record, refused: Collection[str]) -> Record:
    truth, annotations = dataset.objects(row), record.objects.annotations
    crowds = np.array([annotation.crowd for annotation in annotations], np.bool_)
    kept = np.flatnonzero(~crowds) if "crowds" in refused else np.arange(len(annotations))
    if truth.masks is None or not len(kept):
        return (
            record if len(kept) == len(annotations) else replace(record, truth=replace(record.objects, annotations=()))
        )
    masks = truth.masks[kept]
    seen = visible(masks) if "overlaps" in refused else masks
    chosen = [annotations[place] for place in kept.tolist()]
    if seen is not masks:
        codes, areas, before = seen.to_rle(), seen.areas(), masks.areas()
        chosen = [
            item if areas[place] == before[place] else replace(item, shape=Rle(codes[place]), box=None, area=None)
            for place, item in enumerate(chosen)
            if areas[place]
        ]
    return replace(record, truth=replace(record.objects, annotations=tuple(chosen)))
