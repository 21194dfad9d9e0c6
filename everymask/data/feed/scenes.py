"""Pictures of a data set of which nothing is decoded before it is known which part is wanted, and at which size.

A training picture is a small window of a large one, or a large one made small. So outlines are rasterised in the window
and at its scale, and JPEGs that are shown from farther away are decoded at a fraction of their size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.geometry import Warp
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, expected
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment, warped_truth
from everymask.data.feed.outlined import Outlined, outlined
from everymask.data.feed.packed import PackedRecords
from everymask.data.feed.resample import averaged
from everymask.data.identity.watch import WatchedRecords
from everymask.data.pictures.read import read_image
from everymask.data.records import check_picture

Size = tuple[int, int]


class Samples(Protocol):
    """A data set: samples that are read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of a data set and its objects; the picture is a file or its pixels [H, W, C].

    So is the picture of the earlier date `before`, where there is one.
    """

    size: Size
    picture: Path | Array
    objects: InstanceSet | Outlined | None
    id: str = ""
    file: str = ""
    before: Path | Array | None = None

    def boxes(self) -> FloatArray:
        """Where the objects are, crowds aside: [N, 4] xyxy."""
        match self.objects:
            case None:
                return np.zeros((0, 4), np.float32)
            case Outlined(outlines=outlines, crowd=crowd):
                return outlines.boxes()[~crowd]
            case objects:
                return objects.boxes if objects.crowd is None else objects.boxes[~objects.crowd]

    def truth(self, size: Size, warp: Warp, limits: Augment | None = None) -> InstanceSet | None:
        """The objects in the picture's upper left `size` (H, W) that are left after a warp."""
        match self.objects:
            case None:
                return None
            case Outlined() as drawn:
                return drawn.warped(size, warp, limits)
            case objects if size == self.size:
                return warped_truth(objects, size, warp, limits)
            case objects:
                whole = Warp.crop((0, 0, size[1], size[0]))
                return warped_truth(warped_truth(objects, self.size, whole), size, warp, limits)

    def image(self, adapt: Callable[[Array], Array], reduction: int = 1) -> Array:
        """The picture's pixels at 1 / `reduction` (1, 2, 4 or 8) of its size, each the mean of those that it covers.

        Sides are rounded down: see `whole_part`. `adapt` checks and changes the channels. A JPEG is decoded at that
        size, which takes less time. Two dates become the channels of one picture, the earlier first.
        """
        image = self._pixels(self.picture, adapt, reduction)
        if self.before is None:
            return image
        return Sample(image, id=self.id, file=self.file, before=self._pixels(self.before, adapt, reduction)).stacked

    def _pixels(self, picture: Path | Array, adapt: Callable[[Array], Array], reduction: int) -> Array:
        if not isinstance(picture, Path):
            return _smaller(adapt(picture), reduction)
        image = read_image(picture, reduction=reduction)
        if reduction > 1 and image.shape[:2] != self.size:
            height, width = (side // reduction for side in self.size)
            if image.shape[:2] == reduced_size(self.size, reduction):
                return adapt(image)[:height, :width]
            image = read_image(picture)
        check_picture(image, self.size, picture)
        return _smaller(adapt(image), reduction)


def whole_part(size: Size, reduction: int) -> Size:
    """(h, w) of the upper left part of a picture of `size` (H, W) that is whole pixels at 1 / `reduction`."""
    return size[0] // reduction * reduction, size[1] // reduction * reduction


def open_scene(samples: Samples, index: int) -> Scene:
    """Picture `index`; of a `Dataset` nothing but masks that are no polygons is decoded, anything else is a sample."""
    if not isinstance(samples, Dataset):
        sample = samples[index]
        truth = None if sample.truth is None else expected(InstanceSet, sample.truth, sample.file or sample.id)
        return Scene(sample.size, sample.image, truth, sample.id, sample.file)
    samples.require("objects")
    records, row = samples.records, index
    if isinstance(records, WatchedRecords):
        records, row = records.checked(index)
    if isinstance(records, PackedRecords):
        record, drawn = records.bare(row), records.outlined(row)
    else:
        record = records[row]
        drawn = outlined(record.objects.annotations)
    objects = samples.objects(index) if drawn is None else drawn
    return Scene(record.size, record.image, objects, record.id, str(record.image))


def reduced_size(size: Size, reduction: int) -> Size:
    """(h, w) of a JPEG of `size` (H, W) decoded at 1 / `reduction`."""
    return -(-size[0] // reduction), -(-size[1] // reduction)


def _smaller(image: Array, reduction: int) -> Array:
    return averaged(image, reduction) if reduction > 1 else image
