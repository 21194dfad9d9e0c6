"""What annotation programs can hold of an object: rings, a crop, or a box; and a count of what they cannot."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.records import Box, BoxOnly, Polygons
from everymask.errors import DataError, printable

_log = logging.getLogger(__name__)
EMPTY = "objects without a pixel left out"
_CROWDS = "crowd regions left out"
IGNORED = "regions without truth left out"


@dataclass(frozen=True, slots=True)
class Piece:
    """An object to be written: its `rings` where it is outlined, its `box` where that is all, else a crop alone.

    `crop` [h, w] is tight, with its upper left pixel at `corner` (x, y); it is None for boxes.
    """

    name: str
    crowd: bool
    row: int
    rings: tuple[FloatArray, ...] = ()
    box: Box | None = None
    crop: BoolArray | None = None
    corner: tuple[int, int] = (0, 0)

    def dense(self, size: tuple[int, int]) -> BoolArray:
        """The mask in a picture of `size` (H, W)."""
        mask = np.zeros(size, np.bool_)
        if self.crop is not None:
            (x, y), (height, width) = self.corner, self.crop.shape
            mask[y : y + height, x : x + width] = self.crop
        return mask


def check_masks(dataset: Dataset) -> None:
    """`DataError` for a data set of boxes, where a format holds masks alone."""
    if dataset.boxes_only:
        message = f"{printable(dataset.root)}: expected a mask for every object"
        raise DataError(message, hint="write boxes as COCO, Pascal VOC or CVAT")


def pieces(dataset: Dataset, index: int, lost: Counter[str], *, crowds: bool = True) -> Iterator[Piece]:
    """The objects of one picture, without `crowds` where the format holds none.

    What is left out is counted in `lost`: objects without a pixel, regions to be ignored, and crowds.
    """
    for piece in _pieces(dataset, index, lost):
        if piece.crowd and not crowds:
            lost[_CROWDS] += 1
        else:
            yield piece


def _pieces(dataset: Dataset, index: int, lost: Counter[str]) -> Iterator[Piece]:
    record, truth = dataset.records[index], dataset.objects(index)
    lost[IGNORED] += len(record.objects.ignored)
    for row, annotation in enumerate(record.objects.annotations):
        name = dataset.labels.names[annotation.class_id]
        if truth.masks is None or isinstance(annotation.shape, BoxOnly):
            x1, y1, x2, y2 = annotation.box or tuple(truth.boxes[row].tolist())
            yield Piece(name, annotation.crowd, row, box=(x1, y1, x2, y2))
            continue
        crop = truth.masks.crop(row)
        if not crop.size:
            lost[EMPTY] += 1
            continue
        rings = annotation.shape.rings if isinstance(annotation.shape, Polygons) else ()
        x, y = truth.masks.windows[row, :2].tolist()
        yield Piece(name, annotation.crowd, row, rings, crop=crop, corner=(x, y))


def one_ring(piece: Piece, size: tuple[int, int]) -> FloatArray:
    """The only ring of an object where it lies in the picture; else those of its pixels, joined by bridges.

    Bridges have no width, and fill no pixel where rings are filled even-odd.
    """
    height, width = size
    if len(piece.rings) == 1 and piece.rings[0].min() >= 0 and (piece.rings[0] <= (width, height)).all():
        return piece.rings[0]
    return bridged([ring for part in parts_of(piece) for ring in part])


def parts_of(piece: Piece) -> list[list[FloatArray]]:
    """The parts of an object's pixels, each its outer ring and then its holes, [K, 2] along pixel edges."""
    assert piece.crop is not None
    parts = Masks.from_crops([piece.crop], np.zeros((1, 2)), piece.crop.shape).to_polygons(0)
    return [[ring + np.array(piece.corner, np.float64) for ring in part] for part in parts]


def bridged(rings: list[FloatArray]) -> FloatArray:
    """One ring through all of them, by bridges of no width from the first corner of the first."""
    start = rings[0][:1]
    if len(rings) == 1:
        return rings[0]
    return np.concatenate([rings[0], *(piece for ring in rings[1:] for piece in (start, ring, ring[:1])), start])


def report_ignored(path: Path, dataset: Dataset) -> None:
    """Log a warning that counts the regions without truth, for a format that holds none."""
    report_lost(path, Counter({IGNORED: sum(len(record.objects.ignored) for record in dataset.records)}))


def report_lost(path: Path, lost: Counter[str]) -> None:
    """Log a warning for each kind of thing that the format could not hold, with its number."""
    for what, count in lost.items():
        if count:
            _log.warning("%s: %d %s", path, count, what)
