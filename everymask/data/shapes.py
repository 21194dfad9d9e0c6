"""Synthetic pictures of squares, circles and triangles: a data set that needs no download and is learnt in minutes.

In the manner of the Shapes demonstration of matterport's Mask R-CNN, on cluttered backgrounds and with exact masks.
"""

from __future__ import annotations

import colorsys
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.arrays import BoolArray, ByteArray, FloatArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import write_coco
from everymask.data.pictures.read import write_image
from everymask.data.records import Annotation, Objects, Record, Rle
from everymask.errors import ConfigError

LABELS = Labels(("square", "circle", "triangle"))
_VISIBLE = 0.7
_CONTRAST = 90.0
_TILT = math.pi / 12


@dataclass(frozen=True, slots=True)
class ShapesConfig:
    """A set of `pictures` of `size` (H, W) with 1 to `max_objects` objects each."""

    pictures: int = 600
    size: tuple[int, int] = (128, 128)
    max_objects: int = 3
    seed: int = 0
    vivid: bool = False
    """Bright shapes on muted backgrounds, which a network learns to tell apart in fewer steps."""

    def __post_init__(self) -> None:
        if self.pictures < 1 or self.max_objects < 1 or min(self.size) < 32:
            raise ConfigError(
                "shapes need at least 1 picture, 1 object and 32 pixels a side, but got "
                f"{self.pictures} pictures, {self.max_objects} objects and a size of {self.size}"
            )


def draw_shapes(config: ShapesConfig, index: int) -> Sample:
    """Picture `index` of the set, uint8 RGB, and its objects from the lowest to the topmost.

    Masks hold what is visible; at least 0.7 of each object is.
    """
    image, class_ids, masks = _draw(config, index)
    truth = InstanceSet(boxes=masks.boxes(), class_ids=np.array(class_ids, np.int64), masks=masks)
    return Sample(image, truth, id=f"{index:05d}")


def _draw(config: ShapesConfig, index: int) -> tuple[ByteArray, list[int], Masks]:
    draw = rng(config.seed, index, "shapes")
    image = _background(config.size, draw)
    return add_shapes(_muted(image) if config.vivid else image, config, draw)


def add_shapes(
    image: FloatArray, config: ShapesConfig, draw: np.random.Generator
) -> tuple[ByteArray, list[int], Masks]:
    """A picture [H, W, 3] with shapes drawn on it, their classes, and what is visible of each."""
    shapes: list[BoolArray] = []
    full: list[int] = []
    class_ids: list[int] = []
    for _ in range(int(draw.integers(1, config.max_objects + 1))):
        for _ in range(20):
            class_id = int(draw.integers(len(LABELS)))
            mask = _shape(class_id, config.size, draw)
            below = [shape & ~mask for shape in shapes]
            if all(int(rest.sum()) >= _VISIBLE * area for rest, area in zip(below, full, strict=True)):
                _paint(image, mask, draw, vivid=config.vivid)
                shapes, full = [*below, mask], [*full, int(mask.sum())]
                class_ids.append(class_id)
                break
    noisy = image + draw.normal(0, draw.uniform(2, 10), image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), class_ids, Masks.from_dense(np.stack(shapes))


def write_shapes(
    folder: str | Path,
    *,
    train: int = 500,
    val: int = 100,
    seed: int = 0,
    size: int = 128,
    max_objects: int = 3,
    vivid: bool = False,
) -> Dataset:
    """Draw the set and write it as COCO: `images/<split>/` and `annotations/instances_<split>.json`.

    The validation pictures do not depend on the number of training pictures.
    """
    root = Path(folder)
    config = ShapesConfig(train + val, (size, size), max_objects, seed, vivid)
    splits = ["val"] * val + ["train"] * train
    # Most of the time goes into waiting for the disk to confirm each file.
    with ThreadPoolExecutor(8) as threads:
        records = tuple(threads.map(partial(_write, root, config), range(train + val), splits))
    dataset = Dataset(LABELS, records, "coco", root)
    for split in dataset.splits():
        write_coco(root / "annotations" / f"instances_{split}.json", dataset.split(split))
    return dataset


def _write(root: Path, config: ShapesConfig, index: int, split: str) -> Record:
    image, class_ids, masks = _draw(config, index)
    file = root / "images" / split / f"{index:05d}.png"
    write_image(file, image)
    shapes = zip(class_ids, masks.to_rle(), strict=True)
    return Record(
        file.stem, file, config.size, Objects(tuple(Annotation(k, Rle(counts)) for k, counts in shapes)), split
    )


def _background(size: tuple[int, int], draw: np.random.Generator) -> FloatArray:
    """A gradient between two muted colours with soft blobs and thin lines, [H, W, 3] in 0-255."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    first, second = draw.uniform(40, 215, (2, 1, 1, 3))
    angle = draw.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    share = (along - along.min()) / np.ptp(along)
    image: FloatArray = first + (second - first) * 0.6 * share[..., None]
    for _ in range(int(draw.integers(2, 6))):
        centre, width = draw.uniform(0, 1, 2), draw.uniform(0.05, 0.25)
        blob = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))
        image += blob[..., None] * draw.uniform(-30, 30, 3)
    for _ in range(int(draw.integers(2, 7))):
        angle, thickness = draw.uniform(0, math.pi), draw.uniform(0.5, 1.2) / max(size)
        centre = draw.uniform(0, 1, 2)
        distance = np.abs((x - centre[1]) * math.sin(angle) - (y - centre[0]) * math.cos(angle))
        image[distance < thickness] = draw.uniform(0, 255, 3)
    return image


def _shape(class_id: int, size: tuple[int, int], draw: np.random.Generator) -> BoolArray:
    """A mask [H, W] of a whole shape somewhere in the picture, tilted by up to 15 degrees.

    Circles are 0.28 to 0.44 of the picture's shorter side across; squares and triangles have about their area.
    """
    radius = draw.uniform(0.14, 0.22) * min(size)
    name = LABELS.names[class_id]
    reach = radius * {"circle": 1.0, "square": 1.25, "triangle": 1.45}[name]
    y, x = (draw.uniform(reach, side - reach) for side in size)
    down, right = np.mgrid[0 : size[0], 0 : size[1]] + 0.5 - np.array((y, x))[:, None, None]
    tilt = draw.uniform(-_TILT, _TILT)
    if name == "circle":
        return np.asarray(np.hypot(down, right) <= reach)
    corners = 4 if name == "square" else 3
    inner = reach * math.cos(math.pi / corners)
    normals = math.pi / 2 + tilt + 2 * math.pi / corners * np.arange(corners)
    mask: BoolArray = np.all([right * math.cos(n) + down * math.sin(n) <= inner for n in normals], axis=0)
    return mask


def _muted(image: FloatArray) -> FloatArray:
    """Greyer, and of middling light."""
    grey: FloatArray = image.mean(axis=2, keepdims=True)
    return 60 + 0.55 * (grey + 0.3 * (image - grey))


def _paint(image: FloatArray, mask: BoolArray, draw: np.random.Generator, *, vivid: bool) -> None:
    """Fill with a colour that stands out from what lay there."""
    below = image[mask].mean(axis=0)
    colour = below
    while np.linalg.norm(colour - below) < _CONTRAST:
        colour = _bright(draw) if vivid else draw.uniform(0, 255, 3)
    image[mask] = colour


def _bright(draw: np.random.Generator) -> FloatArray:
    hue, saturation, value = draw.uniform((0, 0.65, 0.6), 1)
    colour: FloatArray = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    return colour
