"""`everymask convert --outline`: masks for objects of which only the boxes are annotated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from everymask.commands.terminal import progress
from everymask.core.arrays import FloatArray
from everymask.core.memory import room_for
from everymask.data.dataset import Dataset
from everymask.data.records import Objects, Polygons, Record, Rle, Shape
from everymask.errors import ConfigError, counted, listed, printable

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor

_log = logging.getLogger(__name__)


def outline_datasets(datasets: Sequence[Dataset], model: str) -> list[Dataset]:
    """The data sets, those of boxes only with masks that the network `model` draws; `ConfigError` where none is."""
    from everymask.api import load

    if not any(dataset.boxes_only for dataset in datasets):
        names = listed(dataset.root for dataset in datasets)
        raise ConfigError(
            f"outline makes masks of boxes, but {names} is not a data set of boxes only", hint="leave out --outline"
        )
    predictor = load(model)
    return [outline_boxes_of(dataset, predictor) if dataset.boxes_only else dataset for dataset in datasets]


def outline_boxes_of(dataset: Dataset, model: Predictor) -> Dataset:
    """The same objects with masks, which are what `model` sees in their boxes; the annotated boxes stay as they are.

    The mask of a crowd is its whole box. Objects in whose box the network sees nothing are left out, and counted in the
    log. Errors as in `Predictor.session`.
    """
    records = []
    with progress("outlining") as move:
        for row in range(len(dataset)):
            records.append(_outlined(dataset, row, model))
            move(row + 1, len(dataset))
    made = replace(dataset, records=tuple(records), boxes_only=False)
    empty = sum(len(part.truth.annotations) for part in dataset.records)
    empty -= sum(len(part.truth.annotations) for part in made.records)
    if empty:
        said = counted(empty, "box", "es")
        _log.warning("%s: the network sees nothing in %s, which are left out", printable(dataset.root), said)
    return made


def _outlined(dataset: Dataset, row: int, model: Predictor) -> Record:
    """A picture's record with the outlines of its objects."""
    record = dataset.records[row]
    if not record.truth.annotations:
        return record
    with room_for(record.image, "make the picture smaller"):
        shapes = _outlines(dataset, row, model)
    annotations = tuple(
        replace(annotation, shape=shapes[place], area=None)
        for place, annotation in enumerate(record.truth.annotations)
        if place in shapes
    )
    return replace(record, truth=Objects(annotations, record.objects.ignored))


def _outlines(dataset: Dataset, row: int, model: Predictor) -> dict[int, Shape]:
    """The outlines of a picture's objects, by their places among its annotations."""
    from everymask.infer.prompted.outlines import outline_boxes, within

    sample, truth = dataset[row], dataset.objects(row)
    boxes, inside = within(truth.boxes, sample.size)
    crowd = np.zeros(len(truth), np.bool_) if truth.crowd is None else truth.crowd
    found: dict[int, Shape] = {place: _whole_box(boxes[place]) for place in np.flatnonzero(inside & crowd).tolist()}
    asked = np.flatnonzero(inside & ~crowd)
    if asked.size:
        masks = outline_boxes(model.session(sample), boxes[asked]).masks
        assert masks is not None
        outlined = zip(asked.tolist(), masks.to_rle(), masks.areas().tolist(), strict=True)
        found |= {place: Rle(counts) for place, counts, area in outlined if area}
    return found


def _whole_box(box: FloatArray) -> Polygons:
    x1, y1, x2, y2 = box.tolist()
    return Polygons((np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]),))
