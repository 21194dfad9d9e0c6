"""From samples to what a semantic network is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap, expected
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment
from everymask.data.feed.looks import as_in_file, vary_look
from everymask.data.feed.pipelines import Prepared, Varied, scaled_size, varied_picture
from everymask.data.feed.preprocess import Preprocess, Size
from everymask.data.feed.scenes import Samples, Scene, whole_part
from everymask.data.feed.semantic_augment import deformed_sample, displacements, varied_window
from everymask.data.feed.views import draw_view
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
        if self.augment.mosaic or self.augment.mixup or self.augment.copy_paste:
            raise ConfigError(
                "mosaic, mixup and copy_paste move objects, but the data set has label maps", hint="set them to 0"
            )

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
        varied = self._view(*_open(self.dataset, index), rng(self.seed, epoch, index, "view"))
        draw = rng(self.seed, epoch, index, "elastic")
        if draw.random() < self.augment.elastic:
            sample = varied.filled(self.preprocess)
            field = displacements(sample.size, self.augment.elastic_sigma, draw)
            varied = Varied(deformed_sample(sample, field), (0, 0), varied.size, varied.top)
        return replace(varied, sample=self._look(varied.sample, epoch, index, varied.top))

    def _look(self, sample: Sample, epoch: int, index: int, top: float | None) -> Sample:
        return vary_look(sample, self.augment, partial(rng, self.seed, epoch, index), top)

    def _view(self, scene: Scene, truth: SemanticMap, draw: np.random.Generator) -> Varied:
        """The picture resized, cut, rotated, turned and mirrored."""
        augment = self.augment
        view = draw_view(augment, draw, rotated=True)
        whole = self.preprocess.resize.size_of(scene.size)
        target = view.upright(self.size) if self.size is not None else scaled_size(whole, view.factor)
        step = view.reduction(scene.size)
        share = augment.category_max if self.size else 0
        window, resized = varied_window(truth, target, view.scale(scene.size, whole), draw, share, step)
        warp = view.warp(window, resized, target)
        height, width = whole_part(scene.size, step)
        seen = truth.each(lambda ids: ids[:height, :width]).warped(warp)
        return varied_picture(scene, seen, self.preprocess, warp, step)


def _open(samples: Samples, index: int) -> tuple[Scene, SemanticMap]:
    """Picture `index`, not decoded yet where it is a file, and its label map."""
    if isinstance(samples, Dataset):
        record, truth = samples.records[index], samples.label_map(index)
        return Scene(record.size, record.image, None, record.id, str(record.image), record.before), truth
    sample = samples[index]
    truth = expected(SemanticMap, sample.truth, sample.file or sample.id)
    return Scene(sample.size, sample.image, None, sample.id, sample.file, sample.before), _compact(truth)


def _compact(truth: SemanticMap) -> SemanticMap:
    """The map in the smallest type: OpenCV takes no 64-bit numbers, and workers hand over less."""
    return truth.each(lambda ids: np.asarray(ids, np.min_scalar_type(truth.ignore)))
