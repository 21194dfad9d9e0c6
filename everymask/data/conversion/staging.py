"""Label maps written anew, as class ids: in one way of storing them, whatever they were read from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from everymask.core.labels import Labels
from everymask.core.segmentation import SemanticMap
from everymask.data.change.coding import ChangeCoding
from everymask.data.coding import LabelCoding, numbers
from everymask.data.dataset import Dataset
from everymask.data.pictures.read import write_image
from everymask.data.records import LabelMapFile


def id_coding(labels: Labels) -> LabelCoding:
    """How label maps hold class ids themselves."""
    return numbers(len(labels), "class ids", void=(labels.ignore,))


def coding_of_ids(dataset: Dataset) -> LabelCoding | ChangeCoding:
    """How label maps of its kind hold class ids themselves."""
    coding = id_coding(dataset.labels)
    return replace(dataset.coding, maps=coding) if isinstance(dataset.coding, ChangeCoding) else coding


def write_map(file: Path, found: SemanticMap, labels: Labels) -> LabelMapFile:
    """Write class ids [H, W], with `labels.ignore` where there is no truth, as a PNG of 8 or 16 bits.

    Those of an earlier date, where there are some, stand beside it in a file whose name ends in `_before`.
    """
    before = file.with_stem(f"{file.stem}_before")
    for place, (_, ids) in zip((file, before), found.planes.items(), strict=False):
        write_image(place, ids.astype(np.min_scalar_type(labels.ignore)))
    pixels = tuple(found.class_pixels(len(labels)).tolist())
    return LabelMapFile(file, pixels, before if "was" in found.planes else None)


def staged(dataset: Dataset, folder: Path, *, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """The label maps of a data set as files of class ids in `folder`; its pictures stay where they are, and those that
    are not annotated as they are.
    """
    records = []
    for row, record in enumerate(dataset.records):
        truth = record.truth
        if record.annotated:
            truth = write_map(folder / f"{row}.png", dataset.label_map(row), dataset.labels)
        records.append(replace(record, truth=truth))
        if progress is not None:
            progress(row + 1, len(dataset))
    return replace(dataset, records=tuple(records), coding=coding_of_ids(dataset))
