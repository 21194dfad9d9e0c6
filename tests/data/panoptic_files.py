"""Small pictures with panoptic maps, as COCO has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.panoptic_writing import write_segments
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import PanopticFile, Record

LABELS = Labels(("car", "Öl", "sky"), ((1, 2, 3), (9, 8, 7), (0, 0, 200)), frozenset({0, 1}))
SIZE = (12, 16)


def ids_of(number: int) -> np.ndarray:
    """A car, an oil drop in two parts and sky; a corner without truth."""
    ids = np.full(SIZE, 66_000 + number, np.int32)
    ids[6:, :5], ids[2:4, 2:5], ids[8:10, 9:12] = 7, 300, 300
    ids[:2, :2] = 0
    return ids


def make_panoptic(folder: Path, *, splits: bool = True) -> Dataset:
    """Four pictures; in the third the car is a crowd."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(4):
        image, file = folder / f"p{number}.png", folder / "maps" / f"p{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)).save(image)
        segments = (Segment(7, 0, crowd=number == 2), Segment(300, 1), Segment(66_000 + number, 2))
        write_segments(file, PanopticMap(ids_of(number), segments), "")
        split = ("train", "train", "val", "train")[number] if splits else None
        records.append(Record(f"p{number}", image, SIZE, PanopticFile(file, segments), split))
    return Dataset(LABELS, tuple(records), "fake", folder, coding=PanopticCoding())
