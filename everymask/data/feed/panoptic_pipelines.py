"""From samples to what a panoptic network is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from everymask.core.geometry import Warp
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap, expected
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment
from everymask.data.feed.looks import as_in_file, vary_look
from everymask.data.feed.pipelines import Prepared, Varied, scaled_size, varied_picture
from everymask.data.feed.preprocess import Preprocess, Size
from everymask.data.feed.scenes import Samples, Scene, whole_part
from everymask.data.feed.views import draw_view, jitter_window
from everymask.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PanopticPipeline:
    """The training pictures of a panoptic data set: `pipeline(epoch, index)`.

    Each picture is resized as `preprocess` says, times a drawn factor, and cut (or filled up) to `size` (H, W); without
    `size` it keeps its own. What is filled up has no truth, and a segment of which too little remains is marked as a
    crowd, which is learned as its class and as no object. What is drawn depends on (seed, epoch, index, operation)
    alone, so batches are the same whatever the order, the number of workers, or whether a run was continued.
    """

    dataset: Samples
    preprocess: Preprocess
    augment: Augment
    seed: int = 0
    size: Size | None = None

    def __post_init__(self) -> None:
        for name in ("mosaic", "mixup", "copy_paste", "elastic"):
            if getattr(self.augment, name):
                raise ConfigError(f"{name} is no variation of panoptic maps", hint=f"set {name} to 0")

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
        look = vary_look(varied.sample, self.augment, partial(rng, self.seed, epoch, index), varied.top)
        return replace(varied, sample=look)

    def _view(self, scene: Scene, truth: PanopticMap, draw: np.random.Generator) -> Varied:
        """The picture resized, cut, rotated, turned and mirrored."""
        view = draw_view(self.augment, draw, rotated=True)
        whole = self.preprocess.resize.size_of(scene.size)
        target = view.upright(self.size) if self.size is not None else scaled_size(whole, view.factor)
        step = view.reduction(scene.size)
        window, resized = jitter_window(truth.size, target, view.scale(scene.size, whole), draw, step=step)
        warp = view.warp(window, resized, target)
        height, width = whole_part(scene.size, step)
        part = PanopticMap(truth.ids[:height, :width], truth.segments)
        return varied_picture(scene, _settled(part, warp, self.augment), self.preprocess, warp, step)


def _open(samples: Samples, index: int) -> tuple[Scene, PanopticMap]:
    """Picture `index`, not decoded yet where it is a file, and its panoptic map, numbered anew in the smallest type."""
    if isinstance(samples, Dataset):
        record, truth = samples.records[index], samples.panoptic_map(index)
        return Scene(record.size, record.image, None, record.id, str(record.image)), truth.renumbered()
    sample = samples[index]
    found = expected(PanopticMap, sample.truth, sample.file or sample.id)
    return Scene(sample.size, sample.image, None, sample.id, sample.file), found.renumbered()


def _settled(truth: PanopticMap, warp: Warp, limits: Augment) -> PanopticMap:
    """The map after a warp, in which segments are crowds of which less remains than `limits` ask for."""
    seen = truth.warped(warp)
    before, after = truth.areas(), seen.areas()
    most = warp.size[0] * warp.size[1]
    return replace(
        seen,
        segments=tuple(
            replace(
                one,
                crowd=one.crowd
                or after[one.id] < limits.min_area
                or after[one.id] < limits.min_visible * min(most, before[one.id] * abs(warp.growth)),
            )
            for one in seen.segments
        ),
    )
