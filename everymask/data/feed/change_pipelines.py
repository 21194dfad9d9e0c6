"""From pictures of two dates to what a network that compares them is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from everymask.core.arrays import Array
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap, expected
from everymask.data.feed.looks import vary_look
from everymask.data.feed.resample import by_fours
from everymask.data.feed.semantic_pipelines import SemanticPipeline


@dataclass(frozen=True, slots=True)
class ChangePipeline(SemanticPipeline):
    """The training pictures of a data set of changes: `pipeline(epoch, index)`, both dates as the channels of one.

    Both dates are resized, cut, turned and deformed alike, as `SemanticPipeline` does it. What a camera and the season
    make differ is drawn for each apart: colours, sharpness and noise, and a shift of the earlier date of up to
    `augment.shift` pixels to each side. The dates are exchanged with probability `augment.exchange`, before the shift:
    truth stays with the frame of the one that is last, and what was there becomes what is. Sources: Fang et al. 2023,
    "Changer" (exchange); Codegoni et al. 2023, "TinyCD" (shared geometry, separate looks).
    """

    def sample(self, epoch: int, index: int) -> Sample:
        """The same two pictures before normalisation, in the type of their files, to be looked at."""
        # A class with slots is made anew by its decorator, and a bare super() would look for the one before.
        stacked = SemanticPipeline.sample(self, epoch, index)
        before, after = np.split(stacked.image, 2, axis=2)
        return replace(stacked, image=after, before=before)

    def _look(self, sample: Sample, epoch: int, index: int, top: float | None) -> Sample:
        draw = partial(rng, self.seed, epoch, index)
        dates = [replace(sample, image=part) for part in np.split(sample.image, 2, axis=2)]
        if draw("exchange").random() < self.augment.exchange:
            dates.reverse()
            truth = expected(ChangeMap, sample.truth, sample.file or sample.id)
            sample = replace(sample, truth=truth.exchanged())
        looks = zip(dates, ("earlier", "later"), strict=True)
        before, after = (vary_look(date, self.augment, partial(draw, name), top).image for date, name in looks)
        x, y = draw("shift").uniform(-self.augment.shift, self.augment.shift, 2).tolist()
        return replace(sample, image=np.concatenate([shifted(before, x, y), after], axis=2))


def shifted(image: Array, x: float, y: float) -> Array:
    """The picture [H, W, C] moved by so many pixels to the right and down, bilinear; its borders are repeated."""
    if x == y == 0:
        return image
    matrix, size = np.array(((1, 0, x), (0, 1, y)), np.float64), (image.shape[1], image.shape[0])
    return by_fours(
        image, lambda part, _: np.asarray(cv2.warpAffine(part, matrix, size, borderMode=cv2.BORDER_REPLICATE))
    )
