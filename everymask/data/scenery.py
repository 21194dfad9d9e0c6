"""Synthetic pictures of shapes before sky, ground and water: a panoptic data set that needs no download.

The things are those of `everymask.data.shapes`; the stuff is told by its texture and its place rather than its colour.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap, Segment, expected
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.panoptic import read_coco_panoptic
from everymask.data.formats.coco.panoptic_writing import write_coco_panoptic, write_segments
from everymask.data.panoptic import PanopticCoding
from everymask.data.pictures.read import write_image
from everymask.data.records import PanopticFile, Record
from everymask.data.shapes import LABELS as SHAPES
from everymask.data.shapes import ShapesConfig, add_shapes

LABELS = Labels((*SHAPES.names, "sky", "ground", "water"), things=frozenset(range(len(SHAPES))))
_SKY, _GROUND, _WATER = range(len(SHAPES), len(SHAPES) + 3)
_LAKES = 0.7  # of the pictures have water


def draw_scene(config: ShapesConfig, index: int) -> Sample:
    """Picture `index` of the set, uint8 RGB, and its panoptic map, in which every pixel has a segment.

    The sky ends at a horizon in the upper half; below is ground, in most pictures with a lake or a sea.
    """
    draw = rng(config.seed, index, "scenery")
    stuff = _places(config.size, draw)
    image = _textured(stuff, draw)
    picture, class_ids, masks = add_shapes(image, config, draw)
    numbers = stuff.astype(np.int32)
    segments = [Segment(row, class_id) for row, class_id in enumerate(class_ids, start=1)]
    ids: IntArray = np.zeros(config.size, np.int32)
    for row in range(len(masks)):
        x1, y1, x2, y2 = masks.windows[row].tolist()
        ids[y1:y2, x1:x2][masks.crop(row)] = row + 1
    for class_id in (_SKY, _GROUND, _WATER):
        free = (ids == 0) & (numbers == class_id)
        if free.any():
            segments.append(Segment(len(segments) + 1, class_id))
            ids[free] = len(segments)
    return Sample(picture, PanopticMap(ids, tuple(segments)), id=f"{index:05d}")


def write_scenes(
    folder: str | Path, *, train: int = 500, val: int = 100, seed: int = 0, size: int = 128, max_objects: int = 3
) -> Dataset:
    """Draw the set and write it as COCO panoptic: see `write_coco_panoptic`.

    The validation pictures do not depend on the number of training pictures.
    """
    root = Path(folder)
    config = ShapesConfig(train + val, (size, size), max_objects, seed)
    splits = ["val"] * val + ["train"] * train
    with ThreadPoolExecutor(8) as threads:
        records = tuple(threads.map(partial(_write, root, config), range(train + val), splits))
    write_coco_panoptic(root, Dataset(LABELS, records, "coco-panoptic", root, coding=PanopticCoding()))
    return read_coco_panoptic(root)


def _write(root: Path, config: ShapesConfig, index: int, split: str) -> Record:
    """The picture and its map where the data set has them."""
    sample = draw_scene(config, index)
    truth = expected(PanopticMap, sample.truth, sample.id)
    image = root / "images" / split / f"{sample.id}.png"
    file = root / "annotations" / f"panoptic_{split}" / f"{sample.id}.png"
    write_image(image, sample.image)
    write_segments(file, truth, str(image))
    return Record(sample.id, image, config.size, PanopticFile(file, truth.segments), split)


def _places(size: tuple[int, int], draw: np.random.Generator) -> IntArray:
    """[H, W]: which stuff each pixel is."""
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    horizon = height * draw.uniform(0.25, 0.5) + _waves(x / width, draw, 0.06 * height)
    stuff: IntArray = np.where(y < horizon, _SKY, _GROUND)
    if draw.random() < _LAKES:
        shore = height * draw.uniform(0.65, 0.85) + _waves(x / width, draw, 0.05 * height)
        left, right = np.sort(draw.uniform(-0.3, 1.3, 2)) * width
        inside = (x > left) & (x < right) if right - left > width / 3 else np.ones(size, np.bool_)
        stuff[(y > np.maximum(shore, horizon)) & inside] = _WATER
    return stuff


def _waves(x: FloatArray, draw: np.random.Generator, height: float) -> FloatArray:
    """A smooth curve over x in 0-1, within `height` of 0."""
    found: FloatArray = np.zeros(x.shape)
    for step in (1, 2, 4):
        found += np.sin(2 * np.pi * (step * x + draw.random())) * height / (2 * step)
    return found


def _textured(stuff: IntArray, draw: np.random.Generator) -> FloatArray:
    """[H, W, 3] in 0-255: a smooth sky, rough ground, and water in ripples."""
    height, width = stuff.shape
    y = np.arange(height)[:, None] / height
    grain = {
        _SKY: 14 * _smooth(stuff.shape, (0.25, 0.25), draw) - 30 * y,
        _GROUND: 26 * _smooth(stuff.shape, (0.012, 0.012), draw) + 12 * _smooth(stuff.shape, (0.1, 0.1), draw),
        _WATER: 22 * _smooth(stuff.shape, (0.012, 0.12), draw),
    }
    hues = {_SKY: (125, 165, 215), _GROUND: (130, 115, 85), _WATER: (85, 125, 150)}
    image: FloatArray = np.zeros((height, width, 3))
    for class_id, hue in hues.items():
        colour = np.array(hue) + draw.uniform(-35, 35, 3)
        where = stuff == class_id
        image[where] = (colour + grain[class_id][..., None])[where]
    return image


def _smooth(size: tuple[int, ...], extent: tuple[float, float], draw: np.random.Generator) -> FloatArray:
    """Noise [H, W] of deviation 1 that changes over a part (y, x) of the picture's shorter side."""
    sigma = [max(0.5, part * min(size)) for part in extent]
    noise = np.asarray(cv2.GaussianBlur(draw.normal(size=size), (0, 0), sigmaX=sigma[1], sigmaY=sigma[0]), np.float64)
    return noise / max(float(noise.std()), 1e-6)
