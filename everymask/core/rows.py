"""What a picture shows as the rows of a table: one per object, or one per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import Array, IntArray
from everymask.core.labels import Labels


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One object: its number (from 1), class name, score 0-1 (None for truth), area in pixels, box xyxy."""

    number: int
    name: str
    score: float | None
    area: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ClassArea:
    """What a map says of one class: its name, its pixels, and their share (0-1) of the picture."""

    name: str
    pixels: int
    share: float


def count_classes(ids: IntArray, classes: int) -> IntArray:
    """The pixels of each class in a label map [..., W], and last of what is none: [classes + 1] int64."""
    pixels = np.zeros(classes + 1, np.int64)
    # Row by row: counting needs eight bytes per pixel.
    for row in ids.reshape(-1, ids.shape[-1]):
        pixels += np.bincount(np.minimum(row, classes), minlength=classes + 1)
    return pixels


def count_pairs(first: IntArray, second: IntArray, classes: int) -> IntArray:
    """How many pixels have each pair of class ids in two maps of one shape, [classes, classes] int64: rows are `first`.

    Pixels that have another id in one of the two count nowhere.
    """
    known = (first < classes) & (second < classes)
    pairs = first[known].astype(np.int64) * classes + second[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_areas(pixels: IntArray, labels: Labels) -> list[ClassArea]:
    """The classes that have any of `pixels`, which are as `count_classes` gives them; largest first."""
    total, order = pixels.sum(), np.argsort(-pixels[:-1], kind="stable")
    return [ClassArea(labels.names[k], int(pixels[k]), float(pixels[k] / total)) for k in order if pixels[k]]


def shortest(value: np.floating[Any] | Array) -> float:
    """The shortest decimal that is this float32: files stay small and order and equality of scores stay as they are."""
    return float(str(np.float32(value)))
