"""Pictures of a data set of which nothing is decoded before it is known which part is wanted, and at which size.

A training picture is a small window of a large one, or a large one made small. So outlines are rasterised in the window
and at its scale, and JPEGs are decoded at the fraction of their size that is enough for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset, check_picture
from everymask.data.feed.augment import Augment, crop, cut_truth
from everymask.data.feed.outlined import Outlined, outlined
from everymask.data.feed.packed import PackedRecords
from everymask.data.pictures.read import read_image
from everymask.errors import ConfigError

Size = tuple[int, int]
Window = tuple[int, int, int, int]


class Samples(Protocol):
    """A data set: samples that are read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of a data set and its objects; the picture is a file or its pixels [H, W, C]."""

    size: Size
    picture: Path | Array
    objects: InstanceSet | Outlined | None
    id: str = ""
    file: str = ""

    def boxes(self) -> FloatArray:
        """Where the objects are, crowds aside: [N, 4] xyxy."""
        match self.objects:
            case None:
                return np.zeros((0, 4), np.float32)
            case Outlined(outlines=outlines, crowd=crowd):
                return outlines.boxes()[~crowd]
            case objects:
                return objects.boxes if objects.crowd is None else objects.boxes[~objects.crowd]

    def truth(self, window: Window, size: Size, limits: Augment | None = None) -> InstanceSet | None:
        """The objects in `window` (xyxy) in a picture of `size` (h, w)."""
        if isinstance(self.objects, Outlined):
            return self.objects.cut(window, size, limits)
        return cut_truth(self.objects, self.size, window, size, limits)

    def image(self, window: Window, size: Size, adapt: Callable[[Array], Array], shrink: float = 1.0) -> Array:
        """The pixels in `window` (xyxy, inside the picture) resized to `size` (h, w).

        `adapt` checks and changes the channels of the whole picture before it is cut. Where the file is a JPEG it may
        be decoded at 1/2, 1/4 or 1/8 of its size, but not at less than `shrink`.
        """
        if not isinstance(self.picture, Path):
            return crop(Sample(adapt(self.picture)), window, size).image
        reduction = next((part for part in (8, 4, 2) if shrink * part <= 1 and part <= min(self.size)), 1)
        image = read_image(self.picture, reduction=reduction)
        if reduction > 1 and image.shape[:2] != self.size:
            if image.shape[:2] == reduced_size(self.size, reduction):
                return _resampled(adapt(image), window, size, reduction)
            image = read_image(self.picture)
        check_picture(image, self.size, self.picture)
        return crop(Sample(adapt(image)), window, size).image


def open_scene(samples: Samples, index: int) -> Scene:
    """Picture `index`; of a `Dataset` nothing but masks that are no polygons is decoded, anything else is a sample."""
    if not isinstance(samples, Dataset):
        sample = samples[index]
        truth = sample.truth
        if truth is not None and not isinstance(truth, InstanceSet):
            raise ConfigError(f"instance augmentation needs instances, but got {type(truth).__name__}")
        return Scene(sample.size, sample.image, truth, sample.id, sample.file)
    records = samples.records
    if isinstance(records, PackedRecords):
        record = records.bare(index)
        drawn = records.outlined(index) if samples.kind == "objects" else None
    else:
        record = records[index]
        drawn = outlined(record.objects.annotations) if samples.kind == "objects" else None
    objects = samples.objects(index) if drawn is None else drawn
    return Scene(record.size, record.image, objects, record.id, str(record.image))


def reduced_size(size: Size, reduction: int) -> Size:
    """(h, w) of a JPEG of `size` (H, W) decoded at 1 / `reduction`."""
    return -(-size[0] // reduction), -(-size[1] // reduction)


def _resampled(image: Array, window: Window, size: Size, reduction: int) -> Array:
    """The window, in pixels of the full picture, of one decoded at 1 / `reduction`, resized to `size`.

    Bilinear, at the places at which the full picture would be read: the window need not begin between two pixels.
    """
    x1, y1, x2, y2 = window
    across, down = (x2 - x1) / size[1] / reduction, (y2 - y1) / size[0] / reduction
    way = np.array(((across, 0, x1 / reduction + across / 2 - 0.5), (0, down, y1 / reduction + down / 2 - 0.5)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(image, way, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return drawn.reshape(*size, image.shape[2])
