"""What a data set looks like, measured: the ground for normalisation, training size and detection limits."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import match_channels
from everymask.data.uprightness import Domain, Uprightness
from everymask.errors import DataError, printable

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PIXELS = 250_000


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Measures of a data set.

    Of all pictures: their number, the median `short` and `long` side in pixels, the share of them that is `tall`
    (higher than wide), and `max_objects`, the most objects (crowds and regions to ignore aside) in one. Of the
    `measured` ones: `channels`, the stored type `dtype`, the divisor `scale` that brings it to 0-1, `mean` and `std`
    per channel after that division, and `object_sizes`, the square root of the objects' areas in pixels at the 5th,
    25th, 50th, 75th and 95th percentile (empty without objects), `object_shapes` likewise the height of their boxes
    divided by the width; of panoptic maps things are the objects. `class_shares` is the part of the pixels with truth
    that each class of a semantic or panoptic data set has (empty for objects). `has_up` is False where turned
    pictures and what they show are shown to look like the others.
    """

    pictures: int
    measured: int
    short: float
    long: float
    channels: int
    dtype: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    object_sizes: tuple[float, ...]
    max_objects: int
    tall: float = 0.0
    class_shares: tuple[float, ...] = ()
    object_shapes: tuple[float, ...] = ()
    has_up: bool = True

    @property
    def domain(self) -> Domain:
        """What settings call it."""
        return "upright" if self.has_up else "free"

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def fingerprint(dataset: Dataset, *, seed: int, pictures: int = 50) -> Fingerprint:
    """Measure a data set by `pictures` of its pictures, chosen by `seed`.

    `DataError` for no pictures, and for pictures of different stored types or of channel counts that do not go
    together.
    """
    total = len(dataset)
    if not total or pictures < 1:
        raise DataError(f"{printable(dataset.root)}: there are no pictures to measure")
    chosen = np.sort(rng(seed, "fingerprint").permutation(total)[:pictures]).tolist()
    moments: list[tuple[FloatArray, FloatArray]] = []
    kinds: dict[tuple[str, int], str] = {}
    sizes: list[float] = []
    shapes: list[float] = []
    extremes: list[float] = []
    pixels, standing = np.zeros(len(dataset.labels), np.int64), Uprightness()
    for index in chosen:
        sample = dataset[index]
        for image in sample.dates:
            kinds.setdefault((image.dtype.name, image.shape[2]), sample.file)
            thin, over = _thinned(image), (0, 1)
            extremes.append(float(np.abs(image).max()))
            moments.append((thin.mean(axis=over, dtype=np.float64), np.square(thin, dtype=np.float64).mean(axis=over)))
        if sample.truth is not None:
            counted = sample.truth.countable(dataset.labels)
            sizes.extend(counted.object_sizes().tolist())
            shapes.extend(counted.object_shapes().tolist())
            pixels += sample.truth.class_pixels(len(pixels))
            standing.add(sample.image, sample.truth.regions())
    dtype, channels = _common(kinds)
    scale = _scale(dtype, max(extremes))
    mean, std = _statistics(moments, channels, scale)
    sides = np.array([record.size for record in dataset.records])
    return Fingerprint(
        pictures=total,
        measured=len(chosen),
        short=float(np.median(sides.min(axis=1))),
        long=float(np.median(sides.max(axis=1))),
        channels=channels,
        dtype=dtype,
        scale=scale,
        mean=mean,
        std=std,
        object_sizes=_quantiles(sizes),
        max_objects=max(record.truth.num_objects for record in dataset.records),
        tall=round(float((sides[:, 0] > sides[:, 1]).mean()), 6),
        class_shares=tuple(np.round(pixels / pixels.sum(), 6).tolist()) if pixels.any() else (),
        object_shapes=_quantiles(shapes),
        has_up=not standing.free,
    )


def _quantiles(values: list[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in np.quantile(values, QUANTILES)) if values else ()


def _thinned(image: Array) -> Array:
    """Every n-th row and column of a large picture."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _PIXELS))
    return image[::step, ::step]


def _common(kinds: dict[tuple[str, int], str]) -> tuple[str, int]:
    """The stored type and the channel count to which all pictures can be brought."""
    listed = "; ".join(f"{printable(file)}: {dtype} with {count}" for (dtype, count), file in kinds.items())
    dtypes, counts = {dtype for dtype, _ in kinds}, {count for _, count in kinds}
    if len(dtypes) > 1:
        raise DataError(
            f"the pictures are stored in different types (and channels): {listed}",
            hint="convert them to one type: a model needs one meaning of brightness",
        )
    if len(counts) > 1 and not counts <= {1, 3}:
        raise DataError(
            f"the pictures have different channel counts: {listed}", hint="a model takes one number of channels"
        )
    return dtypes.pop(), 3 if len(counts) > 1 else counts.pop()


def _scale(dtype: str, extreme: float) -> float:
    """255 for bytes, the smallest range of 9 to 16 bits that holds all words; for floats 1, or the largest value."""
    if dtype == "uint8":
        return 255.0
    if dtype == "uint16":
        return float(2 ** max(9, math.ceil(math.log2(extreme + 1))) - 1)
    return max(1.0, extreme)


def _statistics(
    moments: list[tuple[FloatArray, FloatArray]], channels: int, scale: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of the divided values, every picture weighing the same."""
    first, second = (
        np.mean([match_channels(moment[None, None], channels)[0, 0] for moment in column], axis=0)
        for column in zip(*moments, strict=True)
    )
    mean = first / scale
    # A constant channel must not blow up rounding noise: one step of a byte is the least spread.
    std = np.maximum(np.sqrt(np.maximum(second / scale**2 - mean**2, 0)), 1 / 255)
    return tuple(round(float(value), 6) for value in mean), tuple(round(float(value), 6) for value in std)
