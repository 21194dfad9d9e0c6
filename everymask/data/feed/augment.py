"""How strongly training pictures are varied, what then counts as an object, and what joins several pictures in one.

Pictures are [H, W, C] of any channel count, uint8, uint16 or float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray
from everymask.core.geometry import Warp, moved
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, expected
from everymask.data.feed.resample import as_stored
from everymask.errors import ConfigError

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Augment:
    """How strongly training pictures are varied; the defaults suit some tens to some thousands of pictures."""

    flip: float = 0.5
    """Probability of mirroring left-right."""
    vertical: float = 0.0
    """Probability of mirroring top-bottom."""
    rotate: float = 0.0
    """Probability of one to three quarter turns; for pictures without an up."""
    scale: tuple[float, float] = (0.7, 1.4)
    """Range of the resizing factor."""
    brightness: float = 0.2
    """Largest relative change."""
    contrast: float = 0.2
    """Largest relative change."""
    saturation: float = 0.2
    """Largest relative change."""
    hue: float = 0.02
    """Largest turn, as a fraction of the colour circle."""
    blur: float = 0.1
    """Probability of blurring."""
    blur_sigma: float = 1.5
    """Largest standard deviation of the blur in pixels."""
    noise: float = 0.1
    """Probability of adding noise."""
    noise_std: float = 0.03
    """Largest standard deviation of the noise relative to the full range."""
    copy_paste: float = 0.0
    """Probability of pasting objects of another picture."""
    mosaic: float = 0.0
    """Probability of joining four pictures in one."""
    mixup: float = 0.0
    """Probability of blending with another picture, whose objects are then there too."""
    unmixed: float = 0.1
    """Share of the epochs, the last ones, without mosaic and mixup."""
    angle: float = 0.0
    """Largest turn in degrees to either side; label maps only."""
    elastic: float = 0.0
    """Probability of an elastic deformation; label maps only."""
    elastic_sigma: float = 10.0
    """Standard deviation of its displacements in pixels."""
    category_max: float = 0.75
    """Crops of which one class fills a larger share are drawn anew; 0: any crop will do. Label maps only."""
    exchange: float = 0.5
    """Probability of exchanging the two dates; two dates only."""
    shift: float = 4.0
    """Largest shift in pixels, in x and in y, of the earlier date against the later; two dates only."""
    min_area: float = 4.0
    """Objects of which fewer pixels remain are left out."""
    min_visible: float = 0.15
    """Objects of which a smaller fraction (of them, or of the picture where that is smaller) remains are left out."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ConfigError(f"scale must be two rising factors greater than 0, but got {self.scale}")
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(f"hue must be 0-0.5, but got {self.hue}")
        if not 0 <= self.angle <= 180:
            raise ConfigError(f"angle must be 0-180 degrees, but got {self.angle}")
        unlimited = ("blur_sigma", "min_area", "elastic_sigma", "shift")
        for name in (column.name for column in fields(self) if column.name not in ("scale", "angle")):
            value = getattr(self, name)
            if not 0 <= value <= (math.inf if name in unlimited else 1):
                raise ConfigError(f"{name} must be {'>= 0' if name in unlimited else '0-1'}, but got {value}")

    @classmethod
    def none(cls) -> Augment:
        """Nothing is varied and nothing left out."""
        return cls(**{column.name: 0.0 for column in fields(cls) if column.name != "scale"}, scale=(1.0, 1.0))

    def mixed_epochs(self, epochs: int) -> int:
        """How many of a training's epochs, the first ones, have mosaic and mixup; all that there are if it has none."""
        return round(epochs * (1 - self.unmixed)) if self.mosaic or self.mixup else epochs


def copy_paste(
    sample: Sample, other: Sample, generator: np.random.Generator, *, limits: Augment | None = None
) -> Sample:
    """Objects of `other` pasted where they stand there; what they hide is taken from the masks below.

    Each object is pasted with probability 1/2. Where one of the two has no masks, or their pictures are stored in
    different types, the sample comes back as it is.
    Source: Ghiasi et al. 2021.
    """
    truth, source = _truth(sample), _truth(other)
    if truth is None or source is None or truth.masks is None or source.masks is None:
        return sample
    if sample.image.dtype != other.image.dtype:
        return sample
    height, width = sample.size
    source = source[np.flatnonzero((generator.random(len(source)) < 0.5) & ~_crowd(source))]
    if other.size != sample.size:
        source = warped_truth(source, other.size, Warp.crop((0, 0, width, height)), limits)
    if source.masks is None or not len(source):
        return sample
    pasted = np.zeros(sample.size, np.bool_)
    for index, (x1, y1, x2, y2) in enumerate(source.masks.windows.tolist()):
        pasted[y1:y2, x1:x2] |= source.masks.crop(index)
    rows, columns = min(height, other.size[0]), min(width, other.size[1])
    image = np.array(sample.image)
    np.copyto(image[:rows, :columns], other.image[:rows, :columns], where=pasted[:rows, :columns, None])
    left = replace(truth, masks=_minus(truth.masks, pasted))
    below = _settled(left, truth.masks.areas(), sample.size, limits)
    return replace(sample, image=image, truth=joined([below, source]))


def mosaic(parts: Sequence[Sample], corner: tuple[int, int], size: Size, *, fill: Array | None = None) -> Sample:
    """Four pictures around the point `corner` (y, x) of a picture of `size`: upper left, upper right, lower two.

    Each part is cut or filled up to its quarter. Source: Bochkovskiy et al. 2020, "YOLOv4".
    """
    (y, x), (height, width) = corner, size
    quarters = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    first = parts[0]
    image = np.empty((*size, first.image.shape[2]), np.result_type(*(part.image for part in parts)))
    truths = []
    for part, (x1, y1, x2, y2) in zip(parts, quarters, strict=True):
        if x1 == x2 or y1 == y2:
            continue
        quarter, shift = Warp.crop((0, 0, x2 - x1, y2 - y1)), Warp.crop((-x1, -y1, width - x1, height - y1))
        image[y1:y2, x1:x2] = moved(part.image, quarter, 0 if fill is None else fill)
        truth = _truth(part)
        truths.append(
            InstanceSet.empty(size) if truth is None else warped_truth(truth, part.size, quarter).warped(shift)
        )
    return replace(first, image=image, truth=joined(truths))


def mixup(sample: Sample, other: Sample) -> Sample:
    """The mean of two pictures of one size and type, with the objects of both.

    Source: Zhang et al. 2018, "mixup", with the equal shares that detectors take (Ge et al. 2021, YOLOX).
    """
    total = sample.image.astype(np.float32) + other.image
    image = as_stored(0.5 * total, sample.image.dtype)
    truths = (_truth(sample), _truth(other))
    return replace(sample, image=image, truth=joined([truth for truth in truths if truth is not None]))


def joined(truths: Sequence[InstanceSet]) -> InstanceSet:
    """The objects of all sets, which are in one frame; without masks where one of them has none."""
    masks = [truth.masks for truth in truths if truth.masks is not None]
    return InstanceSet(
        boxes=np.concatenate([truth.boxes for truth in truths]).astype(np.float32, copy=False),
        class_ids=np.concatenate([truth.class_ids for truth in truths]),
        masks=Masks.concatenate(masks) if len(masks) == len(truths) else None,
        crowd=np.concatenate([_crowd(truth) for truth in truths]),
    )


def _truth(sample: Sample) -> InstanceSet | None:
    return None if sample.truth is None else expected(InstanceSet, sample.truth, sample.file or sample.id)


def _crowd(truth: InstanceSet) -> BoolArray:
    return np.zeros(len(truth), np.bool_) if truth.crowd is None else truth.crowd


def warped_truth(truth: InstanceSet, size: Size, warp: Warp, limits: Augment | None = None) -> InstanceSet:
    """The objects of a picture of `size` (H, W) that are left after a warp, with tight boxes where there are masks.

    Objects outside are left out, and those of which too little remains by `limits`. A crowd stays while a pixel of it
    remains.
    """
    boxes = warp.boxes(truth.boxes if truth.masks is None else truth.masks.boxes())
    x1, y1, x2, y2 = boxes.T
    truth = truth[(x1 < warp.size[1]) & (x2 > 0) & (y1 < warp.size[0]) & (y2 > 0)]
    found = warp.cut(size)
    seen = warp.size if found is None else found.size
    whole = _box_areas(truth.boxes) if truth.masks is None else truth.masks.areas()
    return _settled(truth.warped(warp), whole * abs(warp.growth), seen, limits)


def _settled(truth: InstanceSet, whole: Array, seen: Size, limits: Augment | None) -> InstanceSet:
    """The objects of which enough remains, with tight boxes where there are masks.

    `whole` [N] is how many pixels each has where all of it is seen, `seen` (h, w) how much of the frame is picture.
    """
    masks = truth.masks
    boxes = truth.boxes if masks is None else masks.boxes()
    areas = _box_areas(boxes) if masks is None else masks.areas()
    least, fraction = (0.0, 0.0) if limits is None else (limits.min_area, limits.min_visible)
    # An object larger than the picture counts as wholly visible where it fills the picture.
    enough = fraction * np.minimum(whole, seen[0] * seen[1])
    keep = (areas > 0) & (_crowd(truth) | ((areas >= least) & (areas >= enough)))
    return replace(truth, boxes=boxes)[keep]


def _box_areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return areas


def _minus(masks: Masks, hidden: BoolArray) -> Masks:
    windows = masks.windows
    crops = [masks.crop(i) & ~hidden[y1:y2, x1:x2] for i, (x1, y1, x2, y2) in enumerate(windows.tolist())]
    return Masks.from_crops(crops, windows[:, :2], masks.size)
