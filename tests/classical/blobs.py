"""A picture of bright discs on a dark ground, some of which touch, and which pixel belongs to which."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.masks import Masks

CENTRES = ((20, 20, 9), (21, 35, 8), (60, 30, 12), (50, 75, 14), (18, 80, 8))
"""y, x and radius; the first two overlap."""
SIZE = (80, 100)


def blobs(noise: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """The picture [H, W, 3] uint8 and the numbers [H, W] of the discs, of two that overlap the nearer one's."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    depth = np.stack([radius - np.hypot(y - cy, x - cx) for cy, cx, radius in CENTRES])
    numbers = np.where(depth.max(axis=0) > 0, depth.argmax(axis=0) + 1, 0)
    grey = np.where(numbers > 0, 170, 50) + noise * np.random.default_rng(0).normal(size=SIZE)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2), numbers


def write_blobs(folder: Path, pictures: int = 6) -> Path:
    """An annotated data set of such pictures: a COCO file with the one class disc, beside its pictures."""
    (folder / "images").mkdir(parents=True)
    image, numbers = blobs()
    images, annotations = [], []
    for picture in range(pictures):
        name, moved = f"{picture}.png", np.roll(numbers, 3 * picture, axis=1)
        Image.fromarray(np.roll(image, 3 * picture, axis=1)).save(folder / "images" / name)
        images.append({"id": picture, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        masks = Masks.from_ids(moved.astype(np.int32), np.arange(1, len(CENTRES) + 1))
        for row, counts in enumerate(masks.to_rle()):
            x1, y1, x2, y2 = masks.windows[row].tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": picture, "category_id": 1, "iscrowd": 0,
                    "segmentation": {"size": list(SIZE), "counts": counts.decode("ascii")},
                    "area": int(masks.areas()[row]), "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )  # fmt: skip
    found = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
    (folder / "annotations.json").write_text(json.dumps(found), encoding="utf-8")
    return folder
