"""Variation for label maps alone: crops that no class fills, and elastic deformation, which is no `Warp`.

Pictures are [H, W, C] of any channel count, label maps [H, W] uint8 or uint16. Pictures are interpolated, label maps
take the nearest pixel.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap, expected
from everymask.data.feed.augment import Augment
from everymask.data.feed.resample import by_fours
from everymask.data.feed.views import Size, Window, jitter_window

_ATTEMPTS = 10
_LOOKED_AT = 1 << 14
_GRID = 3


def semantic_augment() -> Augment:
    """The variation that most results on label maps were published with: scale 0.5-2, mirroring, colours.

    Source: Chen et al. 2017, "Rethinking atrous convolution"; the limit on a class's share of a crop: MMSegmentation.
    """
    return Augment(scale=(0.5, 2.0), blur=0.0, noise=0.0)


def varied_window(
    truth: SemanticMap,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    category_max: float,
    step: int = 1,
) -> tuple[Window, Size]:
    """`jitter_window`, drawn up to ten times until no class fills more than `category_max` of what has truth in it.

    With `category_max` 0 the first will do, and so does the whole picture, of which there is no other.
    Source: MMSegmentation's RandomCrop with cat_max_ratio.
    """
    for _ in range(_ATTEMPTS):
        window, resized = jitter_window(truth.size, target, scale, generator, step=step)
        x1, y1, x2, y2 = window
        whole = y2 - y1 > truth.size[0] - step and x2 - x1 > truth.size[1] - step
        if not category_max or whole or _largest_share(truth, window) < category_max:
            break
    return window, resized


def displacements(size: Size, sigma: float, generator: np.random.Generator) -> FloatArray:
    """A smooth field [2, H, W] of displacements (x, y) in pixels: bicubic between 3 x 3 draws of deviation `sigma`.

    Source: Ronneberger et al. 2015, "U-Net".
    """
    coarse = generator.normal(0, sigma, (2, _GRID, _GRID)).astype(np.float32)
    return np.stack([cv2.resize(part, size[::-1], interpolation=cv2.INTER_CUBIC) for part in coarse])


def deformed_sample(sample: Sample, field: FloatArray) -> Sample:
    """The sample with its picture and its label map `deformed` alike."""
    truth = expected(SemanticMap, sample.truth, sample.file or sample.id)
    return replace(sample, image=deformed(sample.image, field), truth=truth.each(lambda ids: deformed(ids, field)))


def deformed(array: Array, field: FloatArray) -> Array:
    """A picture or label map read at each pixel's middle plus `field` [2, H, W]; beyond its border it is mirrored."""
    height, width = array.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + field[0], y + field[1]
    border = cv2.BORDER_REFLECT_101
    if array.ndim == 2:
        return np.asarray(cv2.remap(np.ascontiguousarray(array), x, y, cv2.INTER_NEAREST, borderMode=border))
    return by_fours(array, lambda part, _: np.asarray(cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=border)))


def _largest_share(truth: SemanticMap, window: Window) -> float:
    x1, y1, x2, y2 = window
    step = max(1, math.isqrt((x2 - x1) * (y2 - y1) // _LOOKED_AT))
    seen = truth.ids[y1:y2:step, x1:x2:step]
    counts = np.bincount(seen[seen != truth.ignore])
    return float(counts.max() / counts.sum()) if counts.any() else 1.0
