"""From samples to what a semantic network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.labels import usual_ignore
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.data.dataset import Dataset, check_picture
from everymask.data.feed.augment import Augment, framed
from everymask.data.feed.pipelines import Prepared, adapted, draw_view, fill_colour, scaled_size, vary_look
from everymask.data.feed.preprocess import Placement, Preprocess, Size
from everymask.data.feed.scenes import Samples, Scene
from everymask.data.feed.semantic_augment import (
    deformed,
    displacements,
    framed_map,
    resize_map,
    rotated,
    turned,
    varied_window,
)
from everymask.data.pictures.read import read_image
from everymask.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SemanticPipeline:
    """The training pictures of a semantic data set: `pipeline(epoch, index)`.

    Each picture is resized as `preprocess` says, times a drawn factor, and cut (or filled up) to `size` (H, W); without
    `size` it keeps its own. What is filled up has no truth. What is drawn depends on (seed, epoch, index, operation)
    alone, so batches are the same whatever the order, the number of workers, or whether a run was continued.
    """

    dataset: Samples
    preprocess: Preprocess
    augment: Augment
    seed: int = 0
    size: Size | None = None

    def __post_init__(self) -> None:
        if self.augment.mosaic or self.augment.copy_paste:
            raise ConfigError(
                "mosaic and copy_paste move objects, but the data set has label maps", hint="set them to 0"
            )

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def ignore(self) -> int:
        """What stands for no truth in the label maps: what the data set's labels say; samples alone have the usual."""
        return self.dataset.labels.ignore if isinstance(self.dataset, Dataset) else usual_ignore(0)

    def __call__(self, epoch: int, index: int) -> Prepared:
        """The picture `index` as it looks in this epoch; `DataError` names the file that cannot be used."""
        sample = self.sample(epoch, index)
        truth = sample.truth if isinstance(sample.truth, SemanticMap) else None
        image = self.preprocess.normalise(sample.image)
        return Prepared(image, truth, Placement(sample.size, sample.size), sample.id, sample.file, self.ignore)

    def sample(self, epoch: int, index: int) -> Sample:
        """The same picture before normalisation, to be looked at."""
        sample = self._view(*_open(self.dataset, index, self.ignore), rng(self.seed, epoch, index, "view"))
        draw = rng(self.seed, epoch, index, "elastic")
        if draw.random() < self.augment.elastic and isinstance(sample.truth, SemanticMap):
            field = displacements(sample.size, self.augment.elastic_sigma, draw)
            truth = SemanticMap(deformed(sample.truth.ids, field))
            sample = Sample(deformed(sample.image, field), truth, sample.id, sample.file)
        return vary_look(sample, self.augment, partial(rng, self.seed, epoch, index))

    def _view(self, scene: Scene, ids: IntArray, draw: np.random.Generator) -> Sample:
        """The picture resized, cut, turned and mirrored."""
        augment = self.augment
        view = draw_view(augment, draw)
        degrees = draw.uniform(-augment.angle, augment.angle)
        whole = self.preprocess.resize.size_of(scene.size)
        scale = view.scale(scene.size, whole)
        target = view.upright(self.size) if self.size is not None else scaled_size(whole, view.factor)
        limit = augment.category_max if self.size else 0
        window, resized = varied_window(ids, self.ignore, target, scale, draw, limit)
        adapt = partial(adapted, scene, self.preprocess)
        if degrees:
            picture = adapt(_pixels(scene))
            fill = fill_colour(self.preprocess, picture)
            image = rotated(picture, window, resized, degrees, fill)
            ids = rotated(ids, window, resized, degrees, np.array(self.ignore))
        else:
            image = scene.image(window, resized, adapt, view.shrink(scale, self.preprocess.resize))
            fill = fill_colour(self.preprocess, image)
            x1, y1, x2, y2 = window
            ids = resize_map(ids[y1:y2, x1:x2], resized)
        image, ids = framed(image, target, fill), framed_map(ids, target, self.ignore)
        turn = partial(turned, turns=view.turns, horizontal=view.horizontal, vertical=view.vertical)
        return Sample(turn(image), SemanticMap(turn(ids)), scene.id, scene.file)


def _open(samples: Samples, index: int, ignore: int) -> tuple[Scene, IntArray]:
    """Picture `index`, not decoded yet where it is a file, and its label map."""
    if isinstance(samples, Dataset):
        record, truth = samples.records[index], samples.label_map(index)
        return Scene(record.size, record.image, None, record.id, str(record.image)), truth.ids
    sample = samples[index]
    if not isinstance(sample.truth, SemanticMap):
        raise ConfigError(f"semantic training needs label maps, but got {type(sample.truth).__name__}")
    return Scene(sample.size, sample.image, None, sample.id, sample.file), np.asarray(
        sample.truth.ids, np.min_scalar_type(ignore)
    )


def _pixels(scene: Scene) -> np.ndarray:
    if isinstance(scene.picture, np.ndarray):
        return scene.picture
    image = read_image(scene.picture)
    check_picture(image, scene.size, scene.picture)
    return image
