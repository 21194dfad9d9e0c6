"""From samples to what a network is fed: with variation for training, without it for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.geometry import Warp, framed
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, Segmentation
from everymask.data.feed.augment import Augment, copy_paste, mixup, mosaic
from everymask.data.feed.looks import as_in_file, top_of, vary_look
from everymask.data.feed.preprocess import Placement, Preprocess, Size, check_range, match_channels
from everymask.data.feed.resample import as_stored, warped_picture
from everymask.data.feed.scenes import Samples, Scene, open_scene, whole_part
from everymask.data.feed.views import Window, draw_view, jitter_view
from everymask.errors import ConfigError, DataError, printable


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture as the network takes it: `image` [C, h, w] float32, `truth` in the same frame.

    `placement` leads back to the picture as it was read; a varied training picture has no way back, and its placement
    says only its size.
    """

    image: FloatArray
    truth: Segmentation | None
    placement: Placement
    id: str = ""
    file: str = ""


def prepare(sample: Sample, preprocess: Preprocess) -> Prepared:
    """The sample for prediction and evaluation; `DataError` names its file where the picture does not fit."""
    with naming(sample):
        check_dates(len(sample.dates), preprocess)
        image, placement = preprocess.apply(sample.stacked)
    truth = None if sample.truth is None else sample.truth.warped(placement.warp)
    return Prepared(image, truth, placement, sample.id, sample.file)


@dataclass(frozen=True, slots=True)
class Varied:
    """A training picture on its way: `sample` has the truth of a frame of `size` (H, W), but pixels for a part of it.

    They begin at `corner` (y, x) of the frame; the rest is padding, which is not varied and becomes 0, as that of a
    batch. `top` is the largest value that the picture's file can hold, None for floats.
    """

    sample: Sample
    corner: tuple[int, int]
    size: Size
    top: float | None

    def prepared(self, preprocess: Preprocess) -> Prepared:
        """The picture as the network takes it."""
        image = preprocess.normalise(self.sample.image, self.corner, self.size)
        return Prepared(image, self.sample.truth, Placement(self.size, self.size), self.sample.id, self.sample.file)

    def filled(self, preprocess: Preprocess) -> Sample:
        """The sample with a picture of the whole frame, in the colour that becomes about 0 where there is padding."""
        image = self.sample.image
        return replace(self.sample, image=framed(image, self.corner, self.size, fill_colour(preprocess, image)))


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
        return self._varied(epoch, index).prepared(self.preprocess)

    def sample(self, epoch: int, index: int) -> Sample:
        """The same picture before normalisation, in the type of its file, to be looked at."""
        varied = self._varied(epoch, index)
        return as_in_file(varied.filled(self.preprocess), varied.top)

    def _varied(self, epoch: int, index: int) -> Varied:
        augment = self.augment
        if self._draw(epoch, index, "mosaic").random() < augment.mosaic:
            varied = self._mosaic(epoch, index)
        else:
            varied = self._view(open_scene(self.dataset, index), self._draw(epoch, index, "view"))
        draw = self._draw(epoch, index, "mixup")
        if draw.random() < augment.mixup:
            varied = self._with_another(varied, draw, self._draw(epoch, index, "blended view"), mixup)
        draw = self._draw(epoch, index, "copy-paste")
        if draw.random() < augment.copy_paste:
            paste = partial(copy_paste, generator=draw, limits=augment)
            varied = self._with_another(varied, draw, self._draw(epoch, index, "pasted view"), paste)
        return replace(varied, sample=vary_look(varied.sample, augment, partial(self._draw, epoch, index), varied.top))

    def _draw(self, epoch: int, index: int, operation: str) -> np.random.Generator:
        return rng(self.seed, epoch, index, operation)

    def _with_another(
        self,
        varied: Varied,
        draw: np.random.Generator,
        draw_of_view: np.random.Generator,
        join: Callable[[Sample, Sample], Sample],
    ) -> Varied:
        """The picture and a drawn one as one, where both are stored alike."""
        scene = open_scene(self.dataset, int(draw.integers(len(self.dataset))))
        other = self._view(scene, draw_of_view, varied.size)
        if other.top != varied.top:
            return varied
        both = join(varied.filled(self.preprocess), other.filled(self.preprocess))
        return Varied(both, (0, 0), varied.size, varied.top)

    def _view(self, scene: Scene, draw: np.random.Generator, size: Size | None = None) -> Varied:
        """The picture resized, cut, turned and mirrored, in a frame of `size` where that is not the pipeline's."""
        augment, size = self.augment, size or self.size
        view = draw_view(augment, draw)
        whole = self.preprocess.resize.size_of(scene.size)
        target = view.upright(size) if size is not None else scaled_size(whole, min(1.0, view.factor))

        step = view.reduction(scene.size)
        part = whole_part(scene.size, step)

        def look(window: Window, resized: Size) -> tuple[Warp, InstanceSet | None]:
            warp = view.warp(window, resized, target)
            return warp, scene.truth(part, warp, augment)

        scale = view.scale(scene.size, whole)
        warp, truth = jitter_view(scene.size, target, scale, draw, look, scene.boxes(), step=step)
        return varied_picture(scene, truth, self.preprocess, warp, step)

    def _mosaic(self, epoch: int, index: int) -> Varied:
        draw = self._draw(epoch, index, "mosaic parts")
        chosen = (index, *draw.integers(len(self.dataset), size=3).tolist())
        scenes = [open_scene(self.dataset, other) for other in chosen]
        height, width = size = self.size or self.preprocess.resize.size_of(scenes[0].size)
        y, x = (min(max(1, round(side * draw.uniform(0.3, 0.7))), max(1, side - 1)) for side in size)
        quarters = ((y, x), (y, width - x), (height - y, x), (height - y, width - x))
        parts = [
            self._view(scene, self._draw(epoch, index, f"part {number}"), (max(1, quarter[0]), max(1, quarter[1])))
            for number, (scene, quarter) in enumerate(zip(scenes, quarters, strict=True))
        ]
        samples = [part.filled(self.preprocess) for part in parts]
        fill = fill_colour(self.preprocess, samples[0].image)
        return Varied(mosaic(samples, (y, x), size, fill=fill), (0, 0), size, parts[0].top)


@dataclass(frozen=True, slots=True)
class Ending:
    """The training pictures of `pipeline`, and from the epoch `first` on those of `last`."""

    pipeline: Callable[[int, int], Prepared]
    last: Callable[[int, int], Prepared]
    first: int

    def __call__(self, epoch: int, index: int) -> Prepared:
        """The picture `index` as it looks in this epoch; errors as those of the pipelines."""
        return self.pipeline(epoch, index) if epoch < self.first else self.last(epoch, index)


def varied_picture(
    scene: Scene, truth: Segmentation | None, preprocess: Preprocess, warp: Warp, reduction: int
) -> Varied:
    """The scene's picture after a warp, resized as `preprocess` does it, with the truth that is there.

    The picture is averaged by `reduction` first; `warp` is that of the picture as it is stored.
    """
    image = scene.image(partial(adapted, scene, preprocess), reduction)
    enlarged = Warp(np.array(((reduction, 0, 0), (0, reduction, 0))), scene.size)
    fill = preprocess.fill
    pixels, corner = warped_picture(image, enlarged.then(warp), preprocess.resize.rule, fill)
    return Varied(Sample(pixels, truth, scene.id, scene.file), corner, warp.size, top_of(image))


def fill_colour(preprocess: Preprocess, image: Array) -> Array:
    """The stored colour [C] that becomes about 0, like the padding of a batch."""
    return as_stored(preprocess.fill, image.dtype)


def scaled_size(size: Size, factor: float) -> Size:
    """(h, w) of a picture of `size` after resizing by `factor`, at least 1 x 1."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def adapted(scene: Scene, preprocess: Preprocess, image: Array) -> Array:
    """The scene's picture with the channels that the network takes; `DataError` names its file."""
    with naming(scene):
        image = match_channels(image, preprocess.channels)
        check_range(image, preprocess.scale)
    return image


def check_dates(found: int, preprocess: Preprocess) -> None:
    """`DataError` where a picture is of other dates than the network compares."""
    if found != preprocess.dates:
        asked = "two dates of a place" if preprocess.dates > 1 else "one picture"
        hint = "give the earlier picture too: predict MODEL before/ after/, or before= in Python"
        if found > 1:
            hint = "the model compares no dates: give it one of them"
        raise DataError(f"the model takes {asked}, but got {found}", hint=hint)


@contextmanager
def naming(sample: Sample | Scene | str) -> Iterator[None]:
    """A `DataError` met inside names the sample's file, or what it is called."""
    try:
        yield
    except DataError as error:
        name = printable(sample if isinstance(sample, str) else sample.file or sample.id)
        raise type(error)(
            f"{name}: {error.message}", hint=error.hint, issues=error.issues, total=error.total
        ) from error
