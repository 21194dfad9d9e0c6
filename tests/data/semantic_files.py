"""Small pictures with label maps, as people store them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.image_masks import read_image_masks


def blobs(classes: int = 3, size: tuple[int, int] = (30, 40), seed: int = 0) -> np.ndarray:
    """A label map [H, W] in which every class fills some coarse cells."""
    coarse = rng(seed, "blobs").permutation(np.arange(20) % classes).reshape(4, 5).astype(np.uint8)
    return np.kron(coarse, np.ones((size[0] // 4 + 1, size[1] // 5 + 1), np.uint8))[: size[0], : size[1]]


def put(
    root: Path, name: str, stored: np.ndarray, *, folders: tuple[str, str] = ("images", "masks"), map_name="{}.png"
):
    """A picture and its label file; the latter's path."""
    file = root / folders[1] / map_name.format(name)
    for folder in (root / folders[0], file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    picture = rng(name, "picture").integers(0, 256, (*stored.shape[:2], 3), np.uint8)
    Image.fromarray(picture).save(root / folders[0] / f"{name}.jpg")
    Image.fromarray(stored).save(file)
    return file


def make_semantic(folder: Path, labels: Labels, *, splits: bool = True, classes: int | None = None) -> Dataset:
    """Four pictures with label maps of `labels`, some of whose pixels have no truth."""
    for number in range(4):
        ids = blobs(classes or len(labels), (36 + 5 * number, 52 - 3 * number), number)
        ids[:3, :7] = 255
        put(folder / "given", f"p{number}", ids)
    write_names = "number,name\n" + "".join(f"{row},{name}\n" for row, name in enumerate(labels.names))
    (folder / "given" / "classes.csv").write_text(write_names, encoding="utf-8")
    found = read_image_masks(folder / "given")
    names = ("train", "train", "val", "train")
    records = tuple(replace(r, split=name if splits else None) for r, name in zip(found.records, names, strict=True))
    return Dataset(labels, records, "fake", folder, coding=found.coding)
