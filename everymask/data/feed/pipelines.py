"""From samples to what a network is fed: with variation for training, without it for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.labels import usual_ignore
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, PanopticMap, SemanticMap
from everymask.data.feed.augment import (
    Augment,
    blur,
    colour,
    copy_paste,
    flip,
    framed,
    in_frame,
    jitter_view,
    mosaic,
    noise,
    rotate90,
)
from everymask.data.feed.preprocess import Placement, Preprocess, Resize, Size, check_range, match_channels
from everymask.data.feed.scenes import Samples, Scene, open_scene
from everymask.data.feed.semantic_augment import map_to_input
from everymask.errors import ConfigError, DataError, printable


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the network takes it: `image` [C, h, w] float32, `truth` in the same frame.

    `placement` leads back to the picture as it was read; a varied training picture has no way back, and its placement
    says only its size. `ignore` is what stands in label maps where there is no truth (`Labels.ignore`; None: as usual).
    """

    image: FloatArray
    truth: InstanceSet | SemanticMap | None
    placement: Placement
    id: str = ""
    file: str = ""
    ignore: int | None = None


def prepare(sample: Sample, preprocess: Preprocess, ignore: int = usual_ignore(0)) -> Prepared:
    """The sample for prediction and evaluation; `DataError` names its file where the picture does not fit.

    `ignore` fills up label maps where the network's frame is not picture.
    """
    with naming(sample):
        image, placement = preprocess.apply(sample.image)
    match sample.truth:
        case InstanceSet(boxes=boxes, masks=found) as objects:
            masks = None if found is None else placement.masks_to_input(found)
            objects = replace(objects, boxes=placement.boxes_to_input(boxes), masks=masks, areas=None)
            return Prepared(image, objects, placement, sample.id, sample.file)
        case SemanticMap(ids):
            truth = SemanticMap(map_to_input(ids, placement, ignore))
            return Prepared(image, truth, placement, sample.id, sample.file, ignore)
        case PanopticMap():
            raise DataError(f"{printable(sample.file or sample.id)}: a panoptic truth cannot be prepared yet")
        case None:
            return Prepared(image, None, placement, sample.id, sample.file)
        case _:
            assert_never(sample.truth)


@dataclass(frozen=True, slots=True)
class View:
    """How a training picture is looked at: resized by `factor`, turned by `turns` quarters and then mirrored."""

    factor: float
    turns: int
    horizontal: bool
    vertical: bool

    def scale(self, size: Size, resized: Size) -> tuple[float, float]:
        """How much larger (y, x) a picture of `size` becomes that prediction resizes to `resized`."""
        return self.factor * resized[0] / size[0], self.factor * resized[1] / size[1]

    def upright(self, size: Size) -> Size:
        """(h, w) before the turns of what has `size` after them."""
        return size[::-1] if self.turns % 2 else size

    def shrink(self, scale: tuple[float, float], resize: Resize) -> float:
        """What a picture may be decoded at, of its size, for a view at `scale` (y, x).

        Where prediction resizes without averaging, training does so too: then only the drawn factor counts.
        """
        return max(scale) if resize.averages else self.factor


def draw_view(augment: Augment, draw: np.random.Generator) -> View:
    """A view as `augment` allows."""
    factor = math.exp(draw.uniform(*np.log(augment.scale)))
    turns = int(draw.integers(1, 4)) if draw.random() < augment.rotate else 0
    horizontal, vertical = (draw.random(2) < (augment.flip, augment.vertical)).tolist()
    return View(factor, turns, horizontal, vertical)


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

    def __post_init__(self) -> None:
        if self.augment.angle or self.augment.elastic:
            raise ConfigError("angle and elastic vary label maps, but the data set has objects", hint="set them to 0")

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
            sample = self._view(open_scene(self.dataset, index), self._draw(epoch, index, "view"))
        draw = self._draw(epoch, index, "copy-paste")
        if draw.random() < augment.copy_paste:
            scene = open_scene(self.dataset, int(draw.integers(len(self.dataset))))
            other = self._view(scene, self._draw(epoch, index, "pasted view"), sample.size)
            sample = copy_paste(sample, other, draw, limits=augment)
        return vary_look(sample, augment, partial(self._draw, epoch, index))

    def _draw(self, epoch: int, index: int, operation: str) -> np.random.Generator:
        return rng(self.seed, epoch, index, operation)

    def _view(self, scene: Scene, draw: np.random.Generator, size: Size | None = None) -> Sample:
        """The picture resized, cut, turned and mirrored; to `size` where it is not the pipeline's."""
        augment, size = self.augment, size or self.size
        view = draw_view(augment, draw)
        whole = self.preprocess.resize.size_of(scene.size)
        scale = view.scale(scene.size, whole)
        target = view.upright(size) if size is not None else scaled_size(whole, min(1.0, view.factor))
        cut = partial(scene.truth, limits=augment)
        window, resized, truth = jitter_view(scene.size, target, scale, draw, cut, scene.boxes())
        shrink = view.shrink(scale, self.preprocess.resize)
        image = scene.image(window, resized, partial(adapted, scene, self.preprocess), shrink)
        truth = None if truth is None else in_frame(truth, target)
        sample = Sample(framed(image, target, fill_colour(self.preprocess, image)), truth, scene.id, scene.file)
        sample = rotate90(sample, view.turns) if view.turns else sample
        mirrored = view.horizontal or view.vertical
        return flip(sample, horizontal=view.horizontal, vertical=view.vertical) if mirrored else sample

    def _mosaic(self, epoch: int, index: int) -> Sample:
        draw = self._draw(epoch, index, "mosaic parts")
        chosen = (index, *draw.integers(len(self.dataset), size=3).tolist())
        scenes = [open_scene(self.dataset, other) for other in chosen]
        height, width = size = self.size or self.preprocess.resize.size_of(scenes[0].size)
        y, x = (min(max(1, round(side * draw.uniform(0.3, 0.7))), max(1, side - 1)) for side in size)
        quarters = ((y, x), (y, width - x), (height - y, x), (height - y, width - x))
        parts = [
            self._view(scene, self._draw(epoch, index, f"part {place}"), (max(1, quarter[0]), max(1, quarter[1])))
            for place, (scene, quarter) in enumerate(zip(scenes, quarters, strict=True))
        ]
        return mosaic(parts, (y, x), size, fill=fill_colour(self.preprocess, parts[0].image))


def vary_look(sample: Sample, augment: Augment, draw: Callable[[str], np.random.Generator]) -> Sample:
    """The sample with its colours, sharpness and noise changed; `draw` gives the generator of an operation."""
    changes = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    if any(changes):
        brightness, contrast, saturation, hue = changes
        generator = draw("colour")
        sample = colour(sample, generator, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    generator = draw("blur")
    if generator.random() < augment.blur:
        sample = blur(sample, generator.uniform(0.1, 1) * augment.blur_sigma)
    generator = draw("noise")
    if generator.random() < augment.noise:
        sample = noise(sample, generator, generator.uniform(0.1, 1) * augment.noise_std)
    return sample


def fill_colour(preprocess: Preprocess, image: Array) -> Array:
    """The stored colour [C] that becomes about 0, like the padding of a batch."""
    mean = np.array(preprocess.mean) * preprocess.scale
    if image.dtype == np.float32:
        return mean.astype(np.float32)
    return np.clip(np.rint(mean), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def scaled_size(size: Size, factor: float) -> Size:
    """(h, w) of a picture of `size` after resizing by `factor`, at least 1 x 1."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def adapted(scene: Scene, preprocess: Preprocess, image: Array) -> Array:
    """The scene's picture with the channels that the network takes; `DataError` names its file."""
    with naming(scene):
        image = match_channels(image, preprocess.channels)
        check_range(image, preprocess.scale)
    return image


@contextmanager
def naming(sample: Sample | Scene | str) -> Iterator[None]:
    """A `DataError` met inside names the sample's file, or what it is called."""
    try:
        yield
    except DataError as error:
        name = printable(sample if isinstance(sample, str) else sample.file or sample.id)
        raise DataError(f"{name}: {error.message}", hint=error.hint, issues=error.issues, total=error.total) from error
