"""The forest of pixels: features of scikit-image, trees grown by scikit-learn and kept as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from everymask.classical.specs import PixelForest
from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.errors import WeightsError, require

_AT_ONCE = 4096  # pixels whose features stay in the processor's cache
_PIXELS_AT_ONCE = 1 << 20
_SMALLEST = np.float32(1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees of N nodes in all, each a row: what is asked there, and what is said where nothing more is.

    `feature` [N] int32 and `threshold` [N] float32: a value above the threshold goes to row `child` + 1, others to row
    `child` [N] int32, which is the row itself in a leaf. `probability` [N, K] float32 says how likely the classes are
    there. The trees begin in the rows `roots` [T] int32; no path is longer than `depth` [1] int32.
    """

    feature: IntArray
    threshold: FloatArray
    child: IntArray
    probability: FloatArray
    roots: IntArray
    depth: IntArray

    def __call__(self, values: FloatArray) -> FloatArray:
        """How likely each class is, [P, K] float32: the mean over the trees, for features [P, F] float32."""
        found = np.empty((len(values), self.probability.shape[1]), np.float32)
        for start in range(0, len(values), _AT_ONCE):
            found[start : start + _AT_ONCE] = self._some(np.ascontiguousarray(values[start : start + _AT_ONCE]))
        return found

    def _some(self, values: FloatArray) -> FloatArray:
        flat, first = values.reshape(-1), np.arange(len(values), dtype=np.int32) * np.int32(values.shape[1])
        total = np.zeros((len(values), self.probability.shape[1]), np.float32)
        for root in self.roots.tolist():
            node: IntArray = np.full(len(values), root, np.int32)
            for _ in range(int(self.depth[0])):
                asked = flat.take(self.feature.take(node) + first)
                node = self.child.take(node) + (asked > self.threshold.take(node))
            total += self.probability.take(node, axis=0)
        return total / np.float32(len(self.roots))

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, as `from_arrays` takes them."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], num_features: int, num_classes: int) -> Self:
        """The forest that `arrays` gave; `WeightsError` where they are none for so many features and classes."""
        try:
            forest = cls(**arrays)
            forest._check(num_features, num_classes)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"the trees of the forest cannot be used: {error}", hint="train it again") from error
        return forest

    def _check(self, num_features: int, num_classes: int) -> None:
        count = len(self.feature)
        shapes = {"feature": (count,), "threshold": (count,), "child": (count,), "probability": (count, num_classes)}
        for name, shape in shapes.items():
            kind = np.float32 if name in ("threshold", "probability") else np.int32
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kind:
                raise ValueError(
                    f"{name} must be {np.dtype(kind)} {list(shape)}, but is {array.dtype} {list(array.shape)}"
                )
        rows, leaf = np.arange(count), self.child == np.arange(count)
        # A child stands behind its parent, so that every path ends.
        if not (leaf | ((self.child > rows) & (self.child < count - 1))).all():
            raise ValueError("a node has no proper child")
        if not ((self.feature >= 0) & (self.feature < num_features)).all():
            raise ValueError(f"a node asks for none of the {num_features} features")
        if not ((self.probability >= 0) & (self.probability <= 1)).all() or np.isnan(self.threshold).any():
            raise ValueError("a threshold is no number, or a probability not between 0 and 1")
        if self.roots.dtype != np.int32 or not self.roots.size or not ((self.roots >= 0) & (self.roots < count)).all():
            raise ValueError("a tree does not begin at a node")
        if self.depth.shape != (1,) or self.depth.dtype != np.int32 or not 0 <= int(self.depth[0]) <= 100:
            raise ValueError("its depth is no number from 0 to 100")


def num_features(spec: PixelForest, channels: int) -> int:
    """How many features each pixel has: brightness, edge and two of texture, for every scale and channel."""
    low, high = spec.sigmas
    return 4 * channels * int(np.log2(high) - np.log2(low) + 1)


def features_of(spec: PixelForest, picture: FloatArray) -> FloatArray:
    """The features of every pixel of a picture [C, H, W] of brightness 0 to 1, [H, W, F] float32."""
    feature = require("skimage.feature", "classical")
    low, high = spec.sigmas
    found: FloatArray = feature.multiscale_basic_features(
        np.ascontiguousarray(picture.transpose(1, 2, 0)), sigma_min=low, sigma_max=high, channel_axis=-1
    )
    return found.astype(np.float32, copy=False)


def grow(spec: PixelForest, values: FloatArray, classes: IntArray, *, seed: int) -> Forest:
    """The forest that has learned the `classes` [P] of pixels with features `values` [P, F]."""
    ensemble = require("sklearn.ensemble", "classical")
    grown = ensemble.RandomForestClassifier(spec.trees, max_depth=spec.depth, random_state=seed, n_jobs=-1)
    grown.fit(values, classes)
    return _as_arrays([tree.tree_ for tree in grown.estimators_], grown.classes_, spec.classes)


def by_forest(spec: PixelForest, forest: Forest, picture: FloatArray) -> FloatArray:
    """Logits [K, H, W] of the classes, for a picture [C, H, W] of brightness 0 to 1.

    Features are calculated for some rows at a time, with as many around them as the largest scale sees.
    """
    height, width = picture.shape[1:]
    logits = np.empty((spec.classes, height, width), np.float32)
    around, rows = int(4 * spec.sigmas[1]) + 8, max(1, _PIXELS_AT_ONCE // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - around), min(bottom + around, height)
        values = features_of(spec, picture[:, first:last])[top - first : bottom - first]
        probable = forest(values.reshape(-1, values.shape[2]))
        logits[:, top:bottom] = np.log(np.maximum(probable, _SMALLEST)).T.reshape(-1, bottom - top, width)
    return logits


def _as_arrays(trees: list[Any], known: IntArray, num_classes: int) -> Forest:
    """The trees of scikit-learn one behind the other, so that the two children of a node are neighbours."""
    parts = [_tree(tree, known, num_classes) for tree in trees]
    starts = np.cumsum([0, *(len(part["feature"]) for part in parts)])[:-1]
    for part, start in zip(parts, starts.tolist(), strict=True):
        part["child"] = part["child"] + np.int32(start)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    depth = np.array([max(tree.max_depth for tree in trees)], np.int32)
    return Forest(**joined, roots=starts.astype(np.int32), depth=depth)


def _tree(tree: Any, known: IntArray, num_classes: int) -> dict[str, Array]:
    left, right = tree.children_left, tree.children_right
    order, child = [0], list[int]()
    for row in order:  # which grows meanwhile: level by level
        is_leaf = left[row] < 0
        child.append(len(child) if is_leaf else len(order))
        if not is_leaf:
            order += [int(left[row]), int(right[row])]
    rows = np.array(order)
    leaf = left[rows] < 0
    said = tree.value[rows, 0, :]
    probability = np.zeros((len(rows), num_classes), np.float32)
    probability[:, known] = said / said.sum(axis=1, keepdims=True)
    return {
        "feature": np.where(leaf, 0, tree.feature[rows]).astype(np.int32),
        "threshold": np.where(leaf, np.float32(np.inf), _rounded_down(tree.threshold[rows])).astype(np.float32),
        "child": np.array(child, np.int32),
        "probability": probability,
    }


def _rounded_down(thresholds: FloatArray) -> FloatArray:
    """The largest float32 that is not above each float64: the same float32 values exceed the one and the other."""
    near = thresholds.astype(np.float32)
    return np.where(near.astype(np.float64) > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
