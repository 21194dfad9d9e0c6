"""From samples to what a network is fed: with variation for training, without it for everything else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.augment import (
    Augment,
    blur,
    colour,
    copy_paste,
    flip,
    jitter_scale,
    mosaic,
    noise,
    rotate90,
)
from everymask.data.preprocess import Placement, Preprocess, Size, check_range, match_channels
from everymask.errors import DataError, printable


class Samples(Protocol):
    """A data set: samples that are read when asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the network takes it: `image` [C, h, w] float32, `truth` in the same frame.

    `placement` leads back to the picture as it was read; a varied training picture has no way back, and its placement
    says only its size.
    """

    image: FloatArray
    truth: InstanceSet | None
    placement: Placement
    id: str = ""
    file: str = ""


def prepare(sample: Sample, preprocess: Preprocess) -> Prepared:
    """The sample for prediction and evaluation; `DataError` names its file where the picture does not fit."""
    with _naming(sample):
        image, placement = preprocess.apply(sample.image)
    truth = sample.truth if isinstance(sample.truth, InstanceSet) else None
    if truth is not None:
        masks = None if truth.masks is None else placement.masks_to_input(truth.masks)
        truth = replace(truth, boxes=placement.boxes_to_input(truth.boxes), masks=masks)
    return Prepared(image, truth, placement, sample.id, sample.file)


@dataclass(frozen=True, slots=True)
class InstancePipeline:
    """The training pictures of a data set: `pipeline(epoch, index)`.

    Each picture is resized as `preprocess` says, times a drawn factor, and cut (or filled up) to `size` (H, W); without
    `size` it keeps its own. What is drawn depends on (seed, epoch, index, operation) alone, so batches are the same
    whatever the order, the number of workers, or whether a run was continued.
    """

    dataset: Samples
    preprocess: Preprocess
    augment: Augment
    seed: int = 0
    size: Size | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, epoch: int, index: int) -> Prepared:
        """The picture `index` as it looks in this epoch; `DataError` names the file that cannot be used."""
        sample = self.sample(epoch, index)
        truth = sample.truth if isinstance(sample.truth, InstanceSet) else None
        image = self.preprocess.normalise(sample.image)
        return Prepared(image, truth, Placement(sample.size, sample.size), sample.id, sample.file)

    def sample(self, epoch: int, index: int) -> Sample:
        """The same picture before normalisation, to be looked at."""
        augment = self.augment
        if self._draw(epoch, index, "mosaic").random() < augment.mosaic:
            sample = self._mosaic(epoch, index)
        else:
            sample = self._view(self._read(index), self._draw(epoch, index, "view"))
        draw = self._draw(epoch, index, "copy-paste")
        if draw.random() < augment.copy_paste:
            other = self._read(int(draw.integers(len(self.dataset))))
            other = self._view(other, self._draw(epoch, index, "pasted view"), sample.size)
            sample = copy_paste(sample, other, draw, limits=augment)
        return self._look(sample, epoch, index)

    def _draw(self, epoch: int, index: int, operation: str) -> np.random.Generator:
        return rng(self.seed, epoch, index, operation)

    def _read(self, index: int) -> Sample:
        sample = self.dataset[index]
        with _naming(sample):
            image = match_channels(sample.image, self.preprocess.channels)
            check_range(image, self.preprocess.scale)
        return replace(sample, image=image)

    def _view(self, sample: Sample, draw: np.random.Generator, size: Size | None = None) -> Sample:
        """The picture resized, cut, turned and mirrored; to `size` where it is not the pipeline's."""
        augment, size = self.augment, size or self.size
        factor = math.exp(draw.uniform(*np.log(augment.scale)))
        turns = int(draw.integers(1, 4)) if draw.random() < augment.rotate else 0
        horizontal, vertical = (draw.random(2) < (augment.flip, augment.vertical)).tolist()
        resized = self.preprocess.resize.size_of(sample.size)
        scale = (factor * resized[0] / sample.size[0], factor * resized[1] / sample.size[1])
        target = size or _scaled(resized, min(1.0, factor))
        if size is not None and turns % 2:
            target = size[::-1]
        sample = jitter_scale(sample, target, scale, draw, fill=self._fill(sample.image), limits=augment)
        sample = rotate90(sample, turns) if turns else sample
        return flip(sample, horizontal=horizontal, vertical=vertical) if horizontal or vertical else sample

    def _mosaic(self, epoch: int, index: int) -> Sample:
        draw = self._draw(epoch, index, "mosaic parts")
        chosen = (index, *draw.integers(len(self.dataset), size=3).tolist())
        samples = [self._read(other) for other in chosen]
        height, width = size = self.size or self.preprocess.resize.size_of(samples[0].size)
        y, x = (min(max(1, round(side * draw.uniform(0.3, 0.7))), max(1, side - 1)) for side in size)
        quarters = ((y, x), (y, width - x), (height - y, x), (height - y, width - x))
        parts = [
            self._view(sample, self._draw(epoch, index, f"part {place}"), (max(1, quarter[0]), max(1, quarter[1])))
            for place, (sample, quarter) in enumerate(zip(samples, quarters, strict=True))
        ]
        return mosaic(parts, (y, x), size, fill=self._fill(parts[0].image))

    def _look(self, sample: Sample, epoch: int, index: int) -> Sample:
        augment = self.augment
        changes = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
        if any(changes):
            brightness, contrast, saturation, hue = changes
            draw = self._draw(epoch, index, "colour")
            sample = colour(sample, draw, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
        draw = self._draw(epoch, index, "blur")
        if draw.random() < augment.blur:
            sample = blur(sample, draw.uniform(0.1, 1) * augment.blur_sigma)
        draw = self._draw(epoch, index, "noise")
        if draw.random() < augment.noise:
            sample = noise(sample, draw, draw.uniform(0.1, 1) * augment.noise_std)
        return sample

    def _fill(self, image: Array) -> Array:
        """The stored colour that becomes about 0, like the padding of a batch."""
        mean = np.array(self.preprocess.mean) * self.preprocess.scale
        if image.dtype == np.float32:
            return mean.astype(np.float32)
        return np.clip(np.rint(mean), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def _scaled(size: Size, factor: float) -> Size:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


@contextmanager
def _naming(sample: Sample) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        name = printable(sample.file or sample.id)
        raise DataError(f"{name}: {error.message}", hint=error.hint, issues=error.issues, total=error.total) from error
