"""How many annotated objects the boxes of selective search overlap.

python scripts/proposal_recall.py ../shared/data/coco128_seg [SIDE [MOST]]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from everymask.classical.selective_search import SelectiveSearch
from everymask.data.formats.table import read_dataset

IOU = 0.5
SMALL = 32**2


def overlaps(truth: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Of each box of the truth [T, 4] the largest IoU with any of boxes [N, 4]."""
    corner = np.maximum(truth[:, None, :2], boxes[None, :, :2])
    inter = np.clip(np.minimum(truth[:, None, 2:], boxes[None, :, 2:]) - corner, 0, None).prod(axis=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (truth, boxes)]
    return (inter / (areas[0][:, None] + areas[1] - inter)).max(axis=1, initial=0)


def main(data: str, side: int = 500, most: int = 2000) -> None:
    """Print counts, recall and time."""
    dataset = read_dataset(Path(data), task="instance")
    search = SelectiveSearch(side=side, most=most)
    counts, best, sizes, seconds = [], [], [], 0.0
    for sample in dataset:
        truth = sample.truth
        if truth.crowd is not None:
            truth = truth[~truth.crowd]
        picture = np.repeat(sample.image, 3, axis=2) if sample.image.shape[2] == 1 else sample.image
        began = time.process_time()
        boxes = search.boxes(picture)
        seconds += time.process_time() - began
        counts.append(len(boxes))
        best.append(overlaps(truth.boxes, boxes))
        sizes.append((truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(axis=1))
    iou, area = np.concatenate(best), np.concatenate(sizes)
    large = area > SMALL
    print(
        f"{len(dataset)} pictures, {np.mean(counts):.0f} boxes on average, {seconds / len(dataset):.2f} s of CPU each"
    )
    print(f"all {len(iou)} objects: recall at {IOU} {(iou >= IOU).mean():.3f}, mean best IoU {iou.mean():.3f}")
    print(f"{large.sum()} objects larger than 32 x 32: {(iou[large] >= IOU).mean():.3f}, {iou[large].mean():.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
