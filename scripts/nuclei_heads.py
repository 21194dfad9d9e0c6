"""Mask R-CNN, Cascade Mask R-CNN or PointRend trained on nuclei for so many rounds: CPU time, box and mask AP.

python scripts/nuclei_heads.py DATA FOLDER mask|pafpn|cascade|point-rend EPOCHS

For equal time, choose the rounds so that the CPU times that are printed are alike.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import everymask as em
from everymask.models.specs.regions import cascade_mask_rcnn_small, mask_rcnn_small, point_rend_small

SMALL = {"encoder": "mobilenetv3_small_100", "rpn_post_nms": (200, 100), "box_samples": 32}
SPECS = {
    "mask": mask_rcnn_small(**SMALL),
    "pafpn": mask_rcnn_small(**SMALL, fpn_bottom_up=True),
    "cascade": cascade_mask_rcnn_small(**SMALL),
    "point-rend": point_rend_small(**SMALL),
}


def main(data: Path, folder: Path, name: str, epochs: int) -> None:
    """Train on one thread, and print what it took and gave."""
    import torch

    torch.set_num_threads(1)
    config = em.TrainConfig(
        data=str(data),
        out=str(folder / name),
        model=SPECS[name],
        weights="none",
        epochs=epochs,
        batch=8,
        size=128,
        optimizer="adamw",
        lr=2e-3,
        max_detections=500,
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
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
