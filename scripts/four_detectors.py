"""R-CNN, Fast, Faster or Mask R-CNN trained for a few rounds on 200 pictures of shapes: CPU time and box AP.

python scripts/four_detectors.py FOLDER fast|faster|mask EPOCHS
python scripts/four_detectors.py FOLDER r-cnn EPOCHS WEIGHTS   a run whose encoder is mobilenetv3_small_100
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

import everymask as em
from everymask.data.feed.augment import Augment
from everymask.data.shapes import write_shapes
from everymask.models.specs.regions import RCNNClassic, fast_rcnn_small, faster_rcnn_small, mask_rcnn_small

SMALL = {"encoder": "mobilenetv3_small_100", "max_detections": 20, "rpn_post_nms": (200, 100)}
SPECS = {
    "r-cnn": RCNNClassic(**SMALL, box_samples=16),
    "fast": fast_rcnn_small(**SMALL, box_samples=32),
    "faster": faster_rcnn_small(**SMALL, box_samples=32),
    "mask": mask_rcnn_small(**SMALL, box_samples=32),
}


def main(folder: Path, name: str, epochs: int, weights: str = "none") -> None:
    """Train on one thread, and print what it took and gave."""
    import torch

    torch.set_num_threads(1)
    data = folder / "shapes"
    if not data.exists():
        write_shapes(data, train=200, val=60, size=64)
    config = em.TrainConfig(
        data=str(data),
        out=str(folder / name),
        model=SPECS[name],
        weights=weights,
        epochs=epochs,
        batch=4,
        size=64,
        augment=replace(Augment.none(), flip=0.5),
        optimizer="adamw",
        lr=1e-3 if name == "r-cnn" else 2e-3,
        warmup_steps=30,
        clip_norm=5.0,
        ema=0.99,
        validate_every=epochs,
        workers=0,
        precision="fp32",
        gradient_threads="all",
        overwrite=True,
    )
    run = em.train(config)
    used = resource.getrusage(resource.RUSAGE_SELF)
    scores = run.report.numbers() if run.report else {}
    print(f"{name}: {run.steps} steps, {used.ru_utime + used.ru_stime:.0f} s of CPU", scores)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
