"""Made pairs of two dates: on photographs, cut-out objects stay, appear or vanish, and light and camera differ.

What a network must tell apart is in them: objects that are there at both dates, light and colours that changed
everywhere, and edges that a shift of some pixels moved. In the manner of copy-paste (Ghiasi et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, ByteArray, FloatArray
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import match_channels
from everymask.data.formats.change.files import read_change_pairs
from everymask.data.pictures.read import write_image
from everymask.errors import ConfigError, DataError, printable

_LEAST_AREA = 1024
_SIDES = 0.15, 0.4
_CHANGED = 0.6
_VISIBLE = 0.7
Cutout = tuple[ByteArray, BoolArray]
"""The pixels [h, w, 3] of an object's box, and where in it the object is."""


@dataclass(frozen=True, slots=True)
class ChangesConfig:
    """A set of `pictures` of `size` (H, W) with 2 to `max_objects` objects each, of which six in ten changed.

    `light` is the largest relative change of brightness, contrast and each channel, `shift` the largest of the camera
    in pixels to each side.
    """

    pictures: int = 500
    size: tuple[int, int] = (128, 128)
    max_objects: int = 6
    light: float = 0.3
    shift: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            self.pictures < 1
            or self.max_objects < 2
            or min(self.size) < 32
            or not 0 <= self.light < 1
            or self.shift < 0
        ):
            raise ConfigError(
                "changes need at least 1 picture, 2 objects, 32 pixels a side, light of 0 to below 1 and a shift of at "
                f"least 0, but got {self}"
            )


@dataclass(frozen=True, slots=True)
class Material:
    """Photographs [H, W, 3] uint8, and objects cut out of them."""

    photographs: Sequence[ByteArray]
    objects: Sequence[Cutout]


def material_of(dataset: Dataset) -> Material:
    """The photographs of a data set of objects, and its objects of 1,024 pixels or more; `DataError` without any."""
    photographs: list[ByteArray] = []
    objects: list[Cutout] = []
    for row in range(len(dataset)):
        image, masks = match_channels(dataset[row].image, 3), dataset.objects(row).masks
        photographs.append(image)
        for place in range(0 if masks is None else len(masks)):
            assert masks is not None
            (x1, y1, x2, y2), mask = masks.windows[place].tolist(), masks.crop(place)
            if mask.sum() >= _LEAST_AREA:
                objects.append((image[y1:y2, x1:x2], mask))
    if not objects:
        raise DataError(f"{printable(dataset.root)}: there are no objects with masks to cut out of the photographs")
    return Material(photographs, objects)


def draw_changes(material: Material, config: ChangesConfig, index: int) -> Sample:
    """Pair `index` of the set, uint8 RGB, and what changed in the frame of the later date.

    At least 0.7 of each object stays visible.
    """
    draw = rng(config.seed, index, "changes")
    height, width = (side + 2 * config.shift for side in config.size)
    before = _background(material.photographs, (height, width), draw)
    after = before.copy()
    changed = np.zeros((height, width), np.bool_)
    taken = np.zeros((height, width), np.bool_)
    for _ in range(int(draw.integers(2, config.max_objects + 1))):
        pixels, mask = _resized(material.objects[int(draw.integers(len(material.objects)))], config.size, draw)
        y, x = (
            int(draw.integers(0, whole - part + 1)) for whole, part in zip((height, width), mask.shape, strict=True)
        )
        window = slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])
        if taken[window][mask].mean() > 1 - _VISIBLE:
            continue
        mask = mask & ~taken[window]
        taken[window] |= mask
        is_changed, appears = draw.random() < _CHANGED, draw.random() < 0.5
        for canvas, there in ((before, not (is_changed and appears)), (after, not is_changed or appears)):
            if there:
                np.copyto(canvas[window], pixels, where=mask[..., None])
        changed[window] |= mask & is_changed
    inner = slice(config.shift, config.shift + config.size[0]), slice(config.shift, config.shift + config.size[1])
    y, x = draw.integers(0, 2 * config.shift + 1, 2).tolist()
    moved = slice(y, y + config.size[0]), slice(x, x + config.size[1])
    earlier, later = (_lit(part, config.light, draw) for part in (before[moved], after[inner]))
    return Sample(later, ChangeMap(changed[inner].astype(np.uint8)), id=f"{index:05d}", before=earlier)


def write_changes(
    folder: str | Path, photographs: Dataset, *, train: int = 400, val: int = 100, size: int = 128, seed: int = 0,
    light: float = 0.3, shift: int = 3,
) -> Dataset:  # fmt: skip
    """Draw a set and write it as `train/` and `val/` with A/, B/ and label/; no photograph is in both.

    A quarter of the photographs are for validation; its pairs do not depend on the number of training pairs.
    """
    root, rows = Path(folder), np.arange(len(photographs))
    parts = {"val": (val, rows[rows % 4 == 0]), "train": (train, rows[rows % 4 != 0])}
    for number, (split, (count, chosen)) in enumerate(parts.items()):
        if not count:
            continue
        material = material_of(photographs.subset(chosen.tolist()))
        config = ChangesConfig(count, (size, size), light=light, shift=shift, seed=2 * seed + number)
        # Most of the time goes into waiting for the disk to confirm each file.
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(partial(_write, root / split, material, config), range(count)))
    return read_change_pairs(root)


def _write(folder: Path, material: Material, config: ChangesConfig, index: int) -> None:
    sample = draw_changes(material, config, index)
    assert sample.before is not None and sample.truth is not None
    for name, picture in (("A", sample.before), ("B", sample.image), ("label", 255 * sample.truth.to_ids())):
        write_image(folder / name / f"{sample.id}.png", picture)


def _background(photographs: Sequence[ByteArray], size: tuple[int, int], draw: np.random.Generator) -> ByteArray:
    """A part of a photograph, half of it at least, at that size."""
    image = photographs[int(draw.integers(len(photographs)))]
    share = draw.uniform(0.5, 1.0)
    height, width = (max(1, int(share * side)) for side in image.shape[:2])
    y, x = (int(draw.integers(0, whole - part + 1)) for whole, part in zip(image.shape, (height, width), strict=False))
    part = np.ascontiguousarray(image[y : y + height, x : x + width])
    return np.array(cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA))


def _resized(cutout: Cutout, size: tuple[int, int], draw: np.random.Generator) -> Cutout:
    """An object whose longer side is 0.15 to 0.4 of the picture's shorter one, mirrored half of the times."""
    pixels, mask = cutout
    factor = draw.uniform(*_SIDES) * min(size) / max(mask.shape)
    width, height = (max(2, round(side * factor)) for side in mask.shape[::-1])
    pixels = np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA))
    mask = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) >= 0.5
    return (pixels[:, ::-1], mask[:, ::-1]) if draw.random() < 0.5 else (pixels, mask)


def _lit(image: ByteArray, most: float, draw: np.random.Generator) -> ByteArray:
    """The picture in another light: brightness, contrast and each channel changed, a gradient over it, and noise."""
    gain = (1 + draw.uniform(-most, most)) * (1 + draw.uniform(-most / 3, most / 3, 3))
    contrast = 1 + draw.uniform(-most, most)
    lit: FloatArray = (image - image.mean()) * contrast + image.mean()
    along = np.linspace(-1, 1, image.shape[1])[None, :, None] * draw.uniform(-most / 2, most / 2)
    lit = lit * gain * (1 + along) + draw.normal(0, draw.uniform(1, 6), image.shape)
    return np.clip(lit, 0, 255).astype(np.uint8)
