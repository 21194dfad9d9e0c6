"""What a method finds in a picture: a row for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from everymask.classical.bases import ObjectMethod, PixelMethod
from everymask.classical.clusters import gaussian_mixture, k_means, mean_shift
from everymask.classical.forest import Forest, by_forest
from everymask.classical.objects import canny_contours, felzenszwalb, marker_watershed, slic, watershed
from everymask.classical.regions import active_contour, chan_vese, grab_cut, random_walker, region_growing
from everymask.classical.specs import (
    SLIC,
    ActiveContour,
    Adaptive,
    CannyContours,
    ChanVese,
    Felzenszwalb,
    GaussianMixture,
    GrabCut,
    Hysteresis,
    KMeans,
    Li,
    MarkerWatershed,
    MeanShift,
    MultiOtsu,
    Otsu,
    PixelForest,
    RandomWalker,
    RegionGrowing,
    Sauvola,
    SplitMerge,
    Triangle,
    Watershed,
)
from everymask.classical.split_merge import split_merge
from everymask.classical.thresholds import adaptive, by_threshold, hysteresis, multi_otsu, sauvola
from everymask.core.arrays import FloatArray
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError

PIXELS: dict[type[PixelMethod], Callable[[Any, FloatArray], FloatArray]] = {
    Otsu: by_threshold,
    Li: by_threshold,
    Triangle: by_threshold,
    MultiOtsu: multi_otsu,
    Adaptive: adaptive,
    Sauvola: sauvola,
    Hysteresis: hysteresis,
    RegionGrowing: region_growing,
    GrabCut: grab_cut,
    RandomWalker: random_walker,
    ChanVese: chan_vese,
    ActiveContour: active_contour,
    KMeans: k_means,
    GaussianMixture: gaussian_mixture,
    MeanShift: mean_shift,
}
OBJECTS: dict[type[ObjectMethod], Callable[[Any, FloatArray], InstanceSet]] = {
    Watershed: watershed,
    MarkerWatershed: marker_watershed,
    CannyContours: canny_contours,
    SplitMerge: split_merge,
    Felzenszwalb: felzenszwalb,
    SLIC: slic,
}


def pixel_logits(spec: PixelMethod, picture: FloatArray, forest: Forest | None = None) -> FloatArray:
    """Logits of the classes of a picture [C, H, W] of brightness 0 to 1, float32.

    Of two classes there is one plane [1, H, W], above 0 where the pixel is foreground, but for the forest of pixels;
    else one for each class [K, H, W]. `ConfigError` for a forest that has not learned anything.
    """
    if not isinstance(spec, PixelForest):
        return PIXELS[type(spec)](spec, picture)
    if forest is None:
        raise ConfigError(
            "a forest of pixels has to learn from annotated pictures first",
            hint="everymask train DATA --model pixel-forest --out runs/forest",
        )
    return by_forest(spec, forest, picture)


def method_objects(spec: ObjectMethod, picture: FloatArray) -> InstanceSet:
    """The objects of a picture [3, H, W] of brightness 0 to 1, the surest first."""
    return OBJECTS[type(spec)](spec, picture)
