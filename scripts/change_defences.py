"""How far each defence is needed where two dates are compared: F1 with and without it, on made pairs.

python scripts/change_defences.py PHOTOGRAPHS FOLDER [MINUTES [NAME ...]]

PHOTOGRAPHS is a data set of objects with masks (COCO128): on its pictures they stay, appear or vanish, in another light
and shifted by up to 2 pixels (`everymask.data.change.made`). Each variant learns on one thread for MINUTES (3) of this
machine's clock, from the same pairs and seed; names are those of `VARIANTS`. What counts is F1 of the validation pairs
with its interval, and the steps beside it say what the machine managed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import everymask as em
from everymask.data.change.made import write_changes
from everymask.data.feed.augment import Augment

LIGHT = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "blur": 0.0, "noise": 0.0}
ALL = Augment(exchange=0.5, shift=4)
VARIANTS = {
    "all": ALL,
    "no-shift": replace(ALL, shift=0),
    "no-exchange": replace(ALL, exchange=0.0),
    "no-colour": replace(ALL, **LIGHT),
    "none": replace(ALL, shift=0, exchange=0.0, **LIGHT),
}


def main(photographs: Path, folder: Path, minutes: float, names: list[str]) -> None:
    """Write the pairs once, train each variant, and print what it gave."""
    import torch

    torch.set_num_threads(1)
    pairs = folder / "pairs"
    if not pairs.is_dir():
        write_changes(pairs, em.read_dataset(photographs), train=800, val=100, size=64, shift=2)
    spec = em.UNet(encoder="plain", decoder_channels=(128, 64, 32, 16), fusion="difference", head="binary")
    for name in names:
        run = em.train(
            em.TrainConfig(
                data=str(pairs),
                out=str(folder / name),
                model=spec,
                weights="none",
                time_limit=f"{round(60 * minutes)}s",
                batch=16,
                lr=2e-3,
                augment=VARIANTS[name],
                workers=0,
                device="cpu",
                overwrite=True,
            )
        )
        print(f"{name}: {run.steps} steps, {run.report.numbers() if run.report else 'not evaluated'}", flush=True)


if __name__ == "__main__":
    rest = sys.argv[3:]
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(rest[0]) if rest else 3.0, rest[1:] or list(VARIANTS))
