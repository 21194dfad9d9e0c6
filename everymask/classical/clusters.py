"""Classes of pixels by what they look like: clusters of colours, and modes."""

from __future__ import annotations

import warnings

import cv2
import numpy as np

from everymask.classical.grey import blurred, bytes_of, grey_of
from everymask.classical.specs import Clusters, Features, GaussianMixture, KMeans, MeanShift, Otsu
from everymask.classical.thresholds import by_threshold, one_hot
from everymask.core.arrays import FloatArray, IntArray
from everymask.core.randomness import rng
from everymask.errors import require


def mean_shift(spec: MeanShift, picture: FloatArray) -> FloatArray:
    """Logits [1, H, W] of foreground, for a picture [3, H, W] of brightness 0 to 1."""
    modes = cv2.pyrMeanShiftFiltering(bytes_of(picture), spec.space, spec.colour)
    divided = Otsu(blur=spec.blur, polarity=spec.polarity, fill_holes=spec.fill_holes, min_area=spec.min_area)
    return by_threshold(divided, modes.transpose(2, 0, 1).astype(np.float32) / 255)


def k_means(spec: KMeans, picture: FloatArray) -> FloatArray:
    """Logits [K, H, W] of the clusters, of two [1, H, W]."""
    values = features_of(picture, spec.features, spec.blur)
    return _ordered(nearest(values, _centres(_drawn(values, spec), spec, attempts=3)), spec, picture)


def gaussian_mixture(spec: GaussianMixture, picture: FloatArray) -> FloatArray:
    """Logits [K, H, W] of the components, of two [1, H, W]."""
    mixture = require("sklearn.mixture", "classical")
    values = features_of(picture, spec.features, spec.blur)
    drawn = _drawn(values, spec)
    if len(drawn) < 2:
        return _ordered(np.zeros(len(values), np.int64), spec, picture)
    centres = _centres(drawn, spec, attempts=1)
    fitted = mixture.GaussianMixture(
        len(centres), means_init=centres, init_params="random_from_data", reg_covar=1e-4, max_iter=50, tol=1e-2,
        random_state=spec.seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        # As near as so many rounds come.
        warnings.simplefilter("ignore", require("sklearn.exceptions", "classical").ConvergenceWarning)
        fitted.fit(drawn)
    return _ordered(fitted.predict(values), spec, picture)


def features_of(picture: FloatArray, features: Features, blur: float) -> FloatArray:
    """What is clustered of each pixel, [H * W, F] float32: its colour, of about the range 0 to 1, and its place."""
    smooth = blurred(np.ascontiguousarray(picture[:3].transpose(1, 2, 0)), blur)
    values = smooth if features == "rgb" else cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB) / np.float32(100)
    if features == "lab+xy":
        height, width = values.shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32) / np.float32(max(height, width))
        values = np.dstack([values, x, y])
    return np.ascontiguousarray(values.reshape(-1, values.shape[2]), np.float32)


def nearest(values: FloatArray, centres: FloatArray) -> IntArray:
    """The number of the centre [K, F] that is nearest to each of `values` [N, F]."""
    square = (centres**2).sum(axis=1)
    found: IntArray = np.argmin(square - 2 * (values @ centres.T), axis=1)
    return found


def _centres(drawn: FloatArray, spec: Clusters, *, attempts: int) -> FloatArray:
    """The centres [K, F] of k-means, the best of some attempts; fewer where fewer values differ."""
    cv2.setRNGSeed(spec.seed)
    ending = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    classes = min(spec.classes, len(np.unique(drawn, axis=0)))
    if classes == 1:
        return drawn[:1]
    none = np.zeros((len(drawn), 1), np.int32)
    _, _, centres = cv2.kmeans(drawn, classes, none, ending, attempts, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres, np.float32)


def _drawn(values: FloatArray, spec: Clusters) -> FloatArray:
    if len(values) <= spec.samples:
        return values
    return values[np.sort(rng(spec.seed, "clusters").permutation(len(values))[: spec.samples])]


def _ordered(found: IntArray, spec: Clusters, picture: FloatArray) -> FloatArray:
    """Logits of clusters [H * W]: of two the smaller is the second, foreground; else they rise in brightness."""
    grey = grey_of(picture, 0)
    numbers = found.reshape(grey.shape)
    counts = np.bincount(found, minlength=spec.classes)
    means = np.bincount(found, grey.reshape(-1), minlength=spec.classes) / np.maximum(counts, 1)
    # What has no pixels comes last.
    order = np.argsort(-counts if spec.classes == 2 else np.where(counts, means, 2), kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return one_hot(places[numbers], spec.classes)
